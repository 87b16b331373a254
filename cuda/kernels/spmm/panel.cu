// Launches of the kernel that keeps a panel of B in shared memory.

#include "kernels/spmm/panel.cuh"

namespace warptile::spmm_kernels {
namespace {

template <int kRows>
Status launch_rows(const SpmmParams& params, const LaunchContext& context) {
  LaunchShape shape;
  shape.overlaps = true;
  shape.cluster = params.plan.cluster;
  shape.grid_x = ceil_div(params.n, kPanelColumns) * shape.cluster;
  shape.grid_y = ceil_div(params.pattern.rows, kPanelWarps * kRows);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = kPanelThreads;
  PanelParams p{};
  p.row_ptr = params.pattern.row_ptr;
  p.col = params.pattern.col;
  p.values = static_cast<const float*>(params.values);
  p.b = static_cast<const float*>(params.b);
  p.ldb = params.ldb;
  p.n = params.n;
  p.rows = static_cast<int32_t>(params.pattern.rows);
  p.columns = static_cast<int32_t>(params.pattern.columns);
  while (1 << p.cluster_log2 < shape.cluster) ++p.cluster_log2;
  p.share = static_cast<int32_t>(ceil_div(params.pattern.columns, shape.cluster));
  // Rows of 128 bytes, one of zeros with each piece, beside the staged entries; the sums of a cluster's blocks need less.
  constexpr size_t kStagedBytes = sizeof(StagedEntry) * kPanelWarps * 2 * kStagedEntries;
  constexpr size_t kRowBytes = sizeof(float) * kPanelColumns;
  const int64_t most = static_cast<int64_t>((context.limits->shared_memory_per_block - kStagedBytes) / kRowBytes);
  p.pieces = p.share < most ? 1 : 2;
  const int64_t longest = most / p.pieces - 1;
  p.piece = static_cast<int32_t>(std::max<int64_t>(1, ceil_div(p.share, ceil_div(std::max(p.share, 1), longest))));
  const size_t rows = std::max<size_t>(p.pieces * (p.piece + 1), shape.cluster > 1 ? kPanelWarps * kRows : 0);
  shape.shared_bytes = rows * kRowBytes + kStagedBytes;
  p.alpha = params.alpha;
  p.beta = params.beta;
  p.c = static_cast<float*>(params.c);
  p.ldc = params.ldc;
  p.batch = params.batch;
  p.values_stride = params.values_stride;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  return writes_vectors(params) ? launch(context, spmm_panel_kernel<kRows, true>, shape, p)
                                : launch(context, spmm_panel_kernel<kRows, false>, shape, p);
}

}  // namespace

// Requires has_panel(params.plan) and a B that fits 16-byte vectors.
Status launch_panel(const SpmmParams& params, const LaunchContext& context) {
  const int rows = params.plan.warp_rows;
  if (rows == 1) return launch_rows<1>(params, context);
  if (rows == 4) return launch_rows<4>(params, context);
  return rows == 8 ? launch_rows<8>(params, context) : launch_rows<16>(params, context);
}

}  // namespace warptile::spmm_kernels
