// Usage: node validate.cjs FILE.glb   Prints the Khronos validator's report as JSON; exits 3 where it gives none.
const fs = require('fs');
const path = require('path');
const validator = require('gltf-validator');

const file = path.resolve(process.argv[2]);
const beside = (uri) =>
  new Promise((resolve, reject) => {
    const found = path.resolve(path.dirname(file), decodeURIComponent(uri));
    fs.readFile(found, (error, data) => (error ? reject(String(error)) : resolve(new Uint8Array(data))));
  });

validator
  .validateBytes(new Uint8Array(fs.readFileSync(file)), { uri: path.basename(file), maxIssues: 1000, externalResourceFunction: beside })
  .then((report) => process.stdout.write(JSON.stringify(report, null, 2) + '\n'))
  .catch((error) => {
    process.stderr.write(String(error) + '\n');
    process.exit(3);
  });
