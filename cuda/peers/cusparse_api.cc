#include "peers/cusparse_api.h"

#include <type_traits>

namespace warptile::peers::cusparse_api {
namespace {

struct Loaded {
  DynamicLibrary library{{"libcusparse.so.12", "libcusparse.so"}, {"libnvJitLink.so.13", "libnvJitLink.so.12"}};
  Functions functions;
  std::string missing;

  Loaded() {
    if (!library.is_open()) return;
    const auto bind = [&](auto& pointer, const char* name, bool optional = false) {
      pointer = library.symbol<std::remove_pointer_t<std::remove_reference_t<decltype(pointer)>>>(name);
      if (!pointer && !optional) missing += std::string(missing.empty() ? "" : ", ") + name;
    };
    Functions& f = functions;
    bind(f.create, "cusparseCreate");
    bind(f.destroy, "cusparseDestroy");
    bind(f.get_version, "cusparseGetVersion");
    bind(f.set_stream, "cusparseSetStream");
    bind(f.error_name, "cusparseGetErrorName");
    bind(f.create_csr, "cusparseCreateCsr");
    bind(f.create_bsr, "cusparseCreateBsr", true);
    bind(f.destroy_sparse, "cusparseDestroySpMat");
    bind(f.create_dense, "cusparseCreateDnMat");
    bind(f.destroy_dense, "cusparseDestroyDnMat");
    bind(f.spmm_buffer_size, "cusparseSpMM_bufferSize");
    bind(f.spmm_preprocess, "cusparseSpMM_preprocess");
    bind(f.spmm, "cusparseSpMM");
    bind(f.sddmm_buffer_size, "cusparseSDDMM_bufferSize");
    bind(f.sddmm_preprocess, "cusparseSDDMM_preprocess");
    bind(f.sddmm, "cusparseSDDMM");
  }
};

const Loaded& loaded() {
  static const Loaded instance;
  return instance;
}

}  // namespace

const Functions* load(std::string* problem) {
  const Loaded& state = loaded();
  if (!state.library.is_open()) {
    *problem = state.library.problems();
    return nullptr;
  }
  if (!state.missing.empty()) {
    *problem = state.library.file() + " lacks " + state.missing;
    return nullptr;
  }
  return &state.functions;
}

const std::string& library_file() { return loaded().library.file(); }

}  // namespace warptile::peers::cusparse_api
