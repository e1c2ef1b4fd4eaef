// What the Khronos Group's validator says of a .glb file, as JSON: node validate_gltf.cjs FOLDER_OF_NODE_MODULES FILE
const { createRequire } = require("module");
const fs = require("fs");
const [folder, file] = process.argv.slice(2);
const validator = createRequire(folder + "/")("gltf-validator");
validator
  .validateBytes(new Uint8Array(fs.readFileSync(file)))
  .then((report) => console.log(JSON.stringify(report.issues)));
