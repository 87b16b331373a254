#include "kernels/spmm/stream.cuh"
#include "kernels/spmm/stream_column.cuh"

namespace warptile::spmm_kernels {

template Status launch_stream<float>(const SpmmParams& params, const LaunchContext& context);
template Status launch_stream_column<float>(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile::spmm_kernels
