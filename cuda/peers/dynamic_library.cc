#include "peers/dynamic_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

namespace warptile::peers {
namespace {

// Folders to look in, each with a slash at its end; the empty one leaves the search to the dynamic linker.
std::vector<std::string> search_folders() {
  std::vector<std::string> folders;
  const auto add_toolkit = [&](const std::string& root) {
    for (const char* part : {"/lib64/", "/lib/", "/targets/x86_64-linux/lib/"}) folders.push_back(root + part);
  };
  const char* given = std::getenv("WARPTILE_CUDA_PATH");
  std::string rest = given ? given : "";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string root = rest.substr(0, colon);
    if (!root.empty()) {
      folders.push_back(root + "/");
      add_toolkit(root);
    }
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  folders.push_back("");
  for (const char* variable : {"CUDA_PATH", "CUDA_HOME"}) {
    const char* root = std::getenv(variable);
    if (root && *root) add_toolkit(root);
  }
  add_toolkit("/usr/local/cuda");
  return folders;
}

}  // namespace

DynamicLibrary::DynamicLibrary(const std::vector<std::string>& names, const std::vector<std::string>& companions) {
  for (const std::string& folder : search_folders()) {
    for (const std::string& name : names) {
      const std::string path = folder + name;
      // A folder without the file is no news; a file that does not open is.
      if (!folder.empty() && access(path.c_str(), R_OK) != 0) continue;
      // The linker finds a dependency that is loaded already by its name, wherever it came from.
      for (const std::string& companion : companions) {
        const std::string beside = folder + companion;
        if (!folder.empty() && access(beside.c_str(), R_OK) == 0) dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL);
      }
      handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_) {
        file_ = path;
        return;
      }
      const char* reason = dlerror();
      if (!problems_.empty()) problems_ += '\n';
      // The linker's reason begins with the file's name.
      problems_ += reason ? reason : path + ": not loaded";
    }
  }
}

void* DynamicLibrary::find(const char* name) const { return handle_ ? dlsym(handle_, name) : nullptr; }

}  // namespace warptile::peers
