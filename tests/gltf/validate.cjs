// Usage: node validate.cjs FILE.glb ...   Prints the Khronos validator's reports as a JSON list; exits 3 where it gives none.
const fs = require('fs');
const path = require('path');
const validator = require('gltf-validator');

const validate = (file) => {
  const beside = (uri) =>
    new Promise((resolve, reject) => {
      const found = path.resolve(path.dirname(file), decodeURIComponent(uri));
      fs.readFile(found, (error, data) => (error ? reject(String(error)) : resolve(new Uint8Array(data))));
    });
  const options = { uri: path.basename(file), maxIssues: 1000, externalResourceFunction: beside };
  return validator.validateBytes(new Uint8Array(fs.readFileSync(file)), options);
};

Promise.all(process.argv.slice(2).map((file) => validate(path.resolve(file))))
  .then((reports) => process.stdout.write(JSON.stringify(reports, null, 2) + '\n'))
  .catch((error) => {
    process.stderr.write(String(error) + '\n');
    process.exit(3);
  });
