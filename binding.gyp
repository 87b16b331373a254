# For `node-gyp rebuild`: CMakeLists.txt is the one build description, so the only target calls CMake (through cmake-js), which
# leaves the addon where node-gyp looks for it. Kept out of the published package: an install must not compile.
{
  "targets": [
    {
      "target_name": "warptile",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "message": "Building the addon through CMake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/warptile.node"],
          "action": ["<!(node -p process.execPath)", "scripts/build.mjs", "--native", "--require-cuda"]
        }
      ]
    }
  ]
}
