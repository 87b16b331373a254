#include "peers/cusparse.h"

#include "peers/cusparse_api.h"

namespace warptile::peers {
namespace {

using namespace cusparse_api;

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

// What a problem needs of cuSPARSE, released with the plan.
class CusparsePlan : public Plan {
 public:
  explicit CusparsePlan(const Functions& functions) : f_(functions) {}

  ~CusparsePlan() override {
    if (sparse_) f_.destroy_sparse(sparse_);
    for (DenseDescriptor dense : dense_) {
      if (dense) f_.destroy_dense(dense);
    }
    if (handle_) f_.destroy(handle_);
  }

 protected:
  // kUnsupported: whatever the library refuses is a problem it does not take, not an error of ours.
  Status check(Result result, const char* call) const {
    if (result == kSuccess) return Status::ok();
    return Status::unsupported(std::string(call) + ": " + f_.error_name(result));
  }

  Status open(cudaStream_t stream) {
    WARPTILE_RETURN_IF_ERROR(check(f_.create(&handle_), "cusparseCreate"));
    return check(f_.set_stream(handle_, stream), "cusparseSetStream");
  }

  Status describe(const CusparseMatrix& m, DType dtype) {
    // The descriptors take pointers to mutable memory also for what is only read.
    auto* row_ptr = const_cast<int32_t*>(m.row_ptr);
    auto* col = const_cast<int32_t*>(m.col);
    if (m.block_rows == 1 && m.block_columns == 1) {
      return check(f_.create_csr(&sparse_, m.rows, m.columns, m.stored, row_ptr, col, m.values, kIndex32, kIndex32,
                                 kBaseZero, data_type(dtype)),
                   "cusparseCreateCsr");
    }
    if (!f_.create_bsr) return Status::unsupported("this cuSPARSE has no cusparseCreateBsr");
    if (m.rows % m.block_rows != 0 || m.columns % m.block_columns != 0) {
      return Status::unsupported("cuSPARSE takes whole blocks only");
    }
    return check(f_.create_bsr(&sparse_, m.rows / m.block_rows, m.columns / m.block_columns, m.stored, m.block_rows,
                               m.block_columns, row_ptr, col, m.values, kIndex32, kIndex32, kBaseZero,
                               data_type(dtype), kRowMajor),
                 "cusparseCreateBsr");
  }

  Status describe(int index, int64_t rows, int64_t columns, int64_t ld, const void* values, DType dtype) {
    return check(f_.create_dense(&dense_[index], rows, columns, ld, const_cast<void*>(values), data_type(dtype),
                                 kRowMajor),
                 "cusparseCreateDnMat");
  }

  const Functions& f_;
  Handle handle_ = nullptr;
  SparseDescriptor sparse_ = nullptr;
  DenseDescriptor dense_[2] = {};
  void* buffer_ = nullptr;
};

class SpmmPlan final : public CusparsePlan {
 public:
  using CusparsePlan::CusparsePlan;

  Status prepare(SpmmAlgorithm algorithm, const CusparseSpmm& p, cudaStream_t stream, Workspace& workspace) {
    algorithm_ = algorithm;
    alpha_ = p.alpha;
    beta_ = p.beta;
    WARPTILE_RETURN_IF_ERROR(open(stream));
    WARPTILE_RETURN_IF_ERROR(describe(p.a, p.dtype));
    WARPTILE_RETURN_IF_ERROR(describe(0, p.a.columns, p.n, p.ldb, p.b, p.dtype));
    WARPTILE_RETURN_IF_ERROR(describe(1, p.a.rows, p.n, p.ldc, p.c, p.dtype));
    size_t bytes = 0;
    WARPTILE_RETURN_IF_ERROR(check(call(f_.spmm_buffer_size, &bytes), "cusparseSpMM_bufferSize"));
    WARPTILE_RETURN_IF_ERROR(workspace.allocate(bytes, &buffer_));
    return check(call(f_.spmm_preprocess, buffer_), "cusparseSpMM_preprocess");
  }

  Status run() override { return check(call(f_.spmm, buffer_), "cusparseSpMM"); }

 private:
  Result call(Spmm* function, void* last) const {
    return function(handle_, kNonTranspose, kNonTranspose, &alpha_, sparse_, dense_[0], &beta_, dense_[1], CUDA_R_32F,
                    algorithm_, last);
  }

  SpmmAlgorithm algorithm_ = kSpmmDefault;
  float alpha_ = 1;
  float beta_ = 0;
};

class SddmmPlan final : public CusparsePlan {
 public:
  using CusparsePlan::CusparsePlan;

  Status prepare(const CusparseSddmm& p, cudaStream_t stream, Workspace& workspace) {
    alpha_ = p.alpha;
    WARPTILE_RETURN_IF_ERROR(open(stream));
    WARPTILE_RETURN_IF_ERROR(describe(p.s, p.dtype));
    WARPTILE_RETURN_IF_ERROR(describe(0, p.s.rows, p.depth, p.lda, p.a, p.dtype));
    WARPTILE_RETURN_IF_ERROR(describe(1, p.s.columns, p.depth, p.ldb, p.b, p.dtype));
    size_t bytes = 0;
    WARPTILE_RETURN_IF_ERROR(check(call(f_.sddmm_buffer_size, &bytes), "cusparseSDDMM_bufferSize"));
    WARPTILE_RETURN_IF_ERROR(workspace.allocate(bytes, &buffer_));
    return check(call(f_.sddmm_preprocess, buffer_), "cusparseSDDMM_preprocess");
  }

  Status run() override { return check(call(f_.sddmm, buffer_), "cusparseSDDMM"); }

 private:
  Result call(Sddmm* function, void* last) const {
    return function(handle_, kNonTranspose, kTranspose, &alpha_, dense_[0], dense_[1], &beta_, sparse_, CUDA_R_32F,
                    kSddmmDefault, last);
  }

  float alpha_ = 1;
  float beta_ = 0;
};

SpmmAlgorithm library_value(CusparseSpmmAlgorithm algorithm) {
  switch (algorithm) {
    case CusparseSpmmAlgorithm::kCsr1:
      return kSpmmCsr1;
    case CusparseSpmmAlgorithm::kCsr2:
      return kSpmmCsr2;
    case CusparseSpmmAlgorithm::kCsr3:
      return kSpmmCsr3;
    case CusparseSpmmAlgorithm::kBsr1:
      return kSpmmBsr1;
    default:
      return kSpmmDefault;
  }
}

}  // namespace

Status cusparse_library(std::string* description) {
  std::string problem;
  const Functions* functions = load(&problem);
  if (!functions) return Status::unsupported(problem);
  *description = library_file();
  return Status::ok();
}

Status prepare_cusparse_spmm(CusparseSpmmAlgorithm algorithm, const CusparseSpmm& problem, cudaStream_t stream,
                             Workspace& workspace, std::unique_ptr<Plan>* plan) {
  std::string reason;
  const Functions* functions = load(&reason);
  if (!functions) return Status::unsupported(reason);
  auto made = std::make_unique<SpmmPlan>(*functions);
  WARPTILE_RETURN_IF_ERROR(made->prepare(library_value(algorithm), problem, stream, workspace));
  *plan = std::move(made);
  return Status::ok();
}

Status prepare_cusparse_sddmm(const CusparseSddmm& problem, cudaStream_t stream, Workspace& workspace,
                              std::unique_ptr<Plan>* plan) {
  std::string reason;
  const Functions* functions = load(&reason);
  if (!functions) return Status::unsupported(reason);
  auto made = std::make_unique<SddmmPlan>(*functions);
  WARPTILE_RETURN_IF_ERROR(made->prepare(problem, stream, workspace));
  *plan = std::move(made);
  return Status::ok();
}

}  // namespace warptile::peers
