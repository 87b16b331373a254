#include "common/tensor_map.h"

#include <cuda_runtime_api.h>

#include <string>

namespace warptile {
namespace {

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                            CUtensorMapFloatOOBfill);

// Of the driver, found at run time so that the library loads where there is none. Null where the driver lacks it.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result{};
  constexpr unsigned kSince = 12000;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSince, cudaEnableDefault, &result);
  return error == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
}

}  // namespace

Status make_tensor_map(const BoxedTensor& tensor, CUtensorMap* map) {
  static const Encode encode = find_encode();
  if (encode == nullptr) return Status::unsupported("the driver has no cuTensorMapEncodeTiled");
  const bool halves = tensor.dtype == DType::kFloat16;
  const auto size = [](int64_t value) { return static_cast<cuuint64_t>(value); };
  const cuuint64_t sizes[3] = {size(tensor.columns), size(tensor.rows), size(tensor.batch)};
  const int64_t set = tensor.batch > 1 ? tensor.batch_stride : tensor.row_stride;
  const cuuint64_t strides[2] = {size(tensor.row_stride) * 2, size(set) * 2};
  const cuuint32_t box[3] = {static_cast<cuuint32_t>(tensor.box_columns), static_cast<cuuint32_t>(tensor.box_rows), 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult result =
      encode(map, halves ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(tensor.data),
             sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             tensor.box_columns == 64 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) return Status::ok();
  return Status::invalid("cuTensorMapEncodeTiled failed with error " + std::to_string(static_cast<int>(result)));
}

}  // namespace warptile
