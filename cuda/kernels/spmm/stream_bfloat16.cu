#include "kernels/spmm/stream.cuh"
#include "kernels/spmm/stream_column.cuh"

namespace warptile::spmm_kernels {

template Status launch_stream<__nv_bfloat16>(const SpmmParams& params, const LaunchContext& context);
template Status launch_stream_column<__nv_bfloat16>(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
