#include "peers/cublas.h"

#include <library_types.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <type_traits>
#include <vector>

#include "peers/dynamic_library.h"

namespace warptile::peers {
namespace {

// What is used of cuBLAS's C interface, declared here so that its header is not needed to build. Names, types and values:
// cuBLAS documentation, "cublasGemmEx", "cublasComputeType_t", "cublasGemmAlgo_t".
using Handle = struct CublasHandleTag*;
enum Result : int { kSuccess = 0 };
enum Operation : int { kNonTranspose = 0 };
enum Compute : int { kCompute32F = 68 };
enum Algorithm : int { kGemmDefault = -1 };

struct Functions {
  Result (*create)(Handle*) = nullptr;
  Result (*destroy)(Handle) = nullptr;
  Result (*set_stream)(Handle, cudaStream_t) = nullptr;
  Result (*set_workspace)(Handle, void*, size_t) = nullptr;
  // Column-major: C [m, n] = alpha A [m, k] B [k, n] + beta C.
  Result (*gemm)(Handle, Operation, Operation, int m, int n, int k, const void* alpha, const void* a, cudaDataType,
                 int lda, const void* b, cudaDataType, int ldb, const void* beta, void* c, cudaDataType, int ldc, Compute,
                 Algorithm) = nullptr;
};

struct Loaded {
  DynamicLibrary library{{"libcublas.so.13", "libcublas.so.12", "libcublas.so"},
                         {"libcublasLt.so.13", "libcublasLt.so.12"}};
  Functions functions;
  std::string missing;

  Loaded() {
    if (!library.is_open()) return;
    const auto bind = [&](auto& pointer, const char* name) {
      pointer = library.symbol<std::remove_pointer_t<std::remove_reference_t<decltype(pointer)>>>(name);
      if (!pointer) missing += std::string(missing.empty() ? "" : ", ") + name;
    };
    bind(functions.create, "cublasCreate_v2");
    bind(functions.destroy, "cublasDestroy_v2");
    bind(functions.set_stream, "cublasSetStream_v2");
    bind(functions.set_workspace, "cublasSetWorkspace_v2");
    bind(functions.gemm, "cublasGemmEx");
  }
};

const Loaded& loaded() {
  static const Loaded instance;
  return instance;
}

Status found(const Functions** functions) {
  const Loaded& state = loaded();
  if (!state.library.is_open()) return Status::unsupported(state.library.problems());
  if (!state.missing.empty()) return Status::unsupported(state.library.file() + " lacks " + state.missing);
  *functions = &state.functions;
  return Status::ok();
}

Status check(Result result, const char* call) {
  if (result == kSuccess) return Status::ok();
  return Status::unsupported(std::string(call) + ": status " + std::to_string(static_cast<int>(result)));
}

cudaDataType data_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return CUDA_R_16F;
    case DType::kBFloat16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

// The size that cuBLAS's documentation recommends for Hopper; its own would be allocated while a graph is recorded.
constexpr size_t kWorkspaceBytes = 32 << 20;

class GemmPlan final : public Plan {
 public:
  explicit GemmPlan(const Functions& functions) : f_(functions) {}
  ~GemmPlan() override {
    if (handle_) f_.destroy(handle_);
  }

  Status prepare(const CublasDensified& p, cudaStream_t stream, Workspace& workspace) {
    p_ = p;
    WARPTILE_RETURN_IF_ERROR(densify(stream, workspace));
    void* scratch = nullptr;
    WARPTILE_RETURN_IF_ERROR(workspace.allocate(kWorkspaceBytes, &scratch));
    WARPTILE_RETURN_IF_ERROR(check(f_.create(&handle_), "cublasCreate"));
    WARPTILE_RETURN_IF_ERROR(check(f_.set_stream(handle_, stream), "cublasSetStream"));
    return check(f_.set_workspace(handle_, scratch, kWorkspaceBytes), "cublasSetWorkspace");
  }

  // Row-major C = A B is column-major C^T = B^T A^T, on the same memory.
  Status run() override {
    const cudaDataType type = data_type(p_.dtype);
    return check(f_.gemm(handle_, kNonTranspose, kNonTranspose, static_cast<int>(p_.n), static_cast<int>(p_.rows),
                         static_cast<int>(p_.columns), &p_.alpha, p_.b, type, static_cast<int>(p_.ldb), a_, type,
                         static_cast<int>(p_.columns), &p_.beta, p_.c, type, static_cast<int>(p_.ldc), kCompute32F,
                         kGemmDefault),
                 "cublasGemmEx");
  }

 private:
  // On the host: it is done once, outside of any timing.
  Status densify(cudaStream_t stream, Workspace& workspace) {
    const int64_t rows = p_.rows;
    const int64_t columns = p_.columns;
    const int64_t block = int64_t{p_.block_rows} * p_.block_columns;
    const size_t width = dtype_bytes(p_.dtype);
    std::vector<int32_t> row_ptr(rows / p_.block_rows + (rows % p_.block_rows != 0) + 1);
    std::vector<int32_t> col(p_.stored);
    std::vector<char> values(p_.stored * block * width);
    const auto fetch = [&](auto& host, const void* source) {
      return cudaMemcpyAsync(host.data(), source, host.size() * sizeof(host[0]), cudaMemcpyDeviceToHost, stream);
    };
    WARPTILE_CUDA(fetch(row_ptr, p_.row_ptr));
    WARPTILE_CUDA(fetch(col, p_.col));
    WARPTILE_CUDA(fetch(values, p_.values));
    WARPTILE_CUDA(cudaStreamSynchronize(stream));
    std::vector<char> dense(rows * columns * width);
    for (size_t band = 0; band + 1 < row_ptr.size(); ++band) {
      for (int64_t i = row_ptr[band]; i < row_ptr[band + 1]; ++i) {
        for (int64_t y = 0; y < p_.block_rows; ++y) {
          const int64_t row = static_cast<int64_t>(band) * p_.block_rows + y;
          const int64_t column = int64_t{col[i]} * p_.block_columns;
          // The last blocks may reach past the matrix.
          if (row >= rows || column >= columns) break;
          const int64_t count = std::min<int64_t>(p_.block_columns, columns - column);
          std::memcpy(&dense[(row * columns + column) * width], &values[(i * block + y * p_.block_columns) * width],
                      count * width);
        }
      }
    }
    WARPTILE_RETURN_IF_ERROR(workspace.allocate(dense.size(), &a_));
    WARPTILE_CUDA(cudaMemcpyAsync(a_, dense.data(), dense.size(), cudaMemcpyHostToDevice, stream));
    WARPTILE_CUDA(cudaStreamSynchronize(stream));
    return Status::ok();
  }

  const Functions& f_;
  CublasDensified p_;
  void* a_ = nullptr;  // [rows, columns]
  Handle handle_ = nullptr;
};

}  // namespace

Status cublas_library(std::string* description) {
  const Functions* functions = nullptr;
  WARPTILE_RETURN_IF_ERROR(found(&functions));
  *description = loaded().library.file();
  return Status::ok();
}

Status prepare_cublas_densified(const CublasDensified& problem, cudaStream_t stream, Workspace& workspace,
                                std::unique_ptr<Plan>* plan) {
  const Functions* functions = nullptr;
  WARPTILE_RETURN_IF_ERROR(found(&functions));
  for (int64_t size : {problem.rows, problem.columns, problem.n, problem.ldb, problem.ldc}) {
    if (size < 1 || size > INT_MAX) return Status::unsupported("cuBLAS takes sizes from 1 to 2^31 - 1");
  }
  auto made = std::make_unique<GemmPlan>(*functions);
  WARPTILE_RETURN_IF_ERROR(made->prepare(problem, stream, workspace));
  *plan = std::move(made);
  return Status::ok();
}

}  // namespace warptile::peers
