// A vendor library opened at run time: warptile neither links nor ships it.
#pragma once

#include <string>
#include <vector>

namespace warptile::peers {

class DynamicLibrary {
 public:
  // Tries each of `names` in the folders of WARPTILE_CUDA_PATH (colon-separated; their lib64, lib and
  // targets/x86_64-linux/lib too), where the dynamic linker looks, and in the usual CUDA folders. `companions` are libraries
  // that it depends on and that may lie beside it, where the linker would not look.
  DynamicLibrary(const std::vector<std::string>& names, const std::vector<std::string>& companions);
  DynamicLibrary(const DynamicLibrary&) = delete;
  DynamicLibrary& operator=(const DynamicLibrary&) = delete;
  // Never unloaded: libraries of CUDA register state with the driver that outlives them badly.
  ~DynamicLibrary() = default;

  bool is_open() const { return handle_ != nullptr; }
  // What was opened; empty where nothing was.
  const std::string& file() const { return file_; }
  // One line for each attempt that failed.
  const std::string& problems() const { return problems_; }

  // Null where the library has no such symbol.
  template <typename Function>
  Function* symbol(const char* name) const {
    return reinterpret_cast<Function*>(find(name));
  }

 private:
  void* find(const char* name) const;

  void* handle_ = nullptr;
  std::string file_;
  std::string problems_;
};

}  // namespace warptile::peers
