// Usage: node tangents.cjs < CORNERS > TANGENTS   Float32 positions [N, 3], normals [N, 3] and uvs [N, 2] of N unindexed corners, one array
// after another; writes MikkTSpace's tangents [N, 4] by its reference implementation.
const fs = require('fs');
const { generateTangents } = require('mikktspace');

const bytes = fs.readFileSync(0);
const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const corners = values.length / 8;
const found = generateTangents(values.slice(0, 3 * corners), values.slice(3 * corners, 6 * corners), values.slice(6 * corners));
process.stdout.write(new Uint8Array(found.buffer));
