// SpMM: checks that the plan fits the problem, and launches it.

#include "api/spmm.h"

#include <algorithm>

#include "common/numeric.cuh"
#include "kernels/spmm/config.h"

namespace warptile {
namespace spmm_kernels {
namespace {

// Smaller pieces than 16 bytes are also stored at once.
bool fits_pieces(const SpmmParams& p) {
  const int piece = p.plan.piece;
  return reads_vectors(p, piece) && (piece == whole_vector(dtype_bytes(p.dtype)) || writes_vectors(p, piece));
}

// What the kernels rely on that load chunks of entries and vectors of B.
Status check_gather(const SpmmParams& p) {
  if (!is_aligned(p.pattern.col)) return Status::unsupported("spmm: column indices are not at a multiple of 16 bytes");
  if (p.ldb > UINT32_MAX / static_cast<int64_t>(dtype_bytes(p.dtype))) {
    return Status::unsupported("spmm: rows of B are 4 GiB apart or more");
  }
  if (!fits_pieces(p)) return Status::unsupported("spmm: operands do not fit the plan's loads");
  return Status::ok();
}

Status run_group(const SpmmParams& p, const LaunchContext& context) {
  if (!p.pattern.is_csr()) return Status::unsupported("spmm: row groups need a CSR matrix");
  if (!has_group(p.dtype, p.plan)) return Status::unsupported("spmm: no row-group kernel of this shape");
  WARPTILE_RETURN_IF_ERROR(check_gather(p));
  return dispatch_float(p.dtype, [&](auto element) { return launch_group<decltype(element)>(p, context); });
}

Status run_hopper_tiles(const SpmmParams& p, const LaunchContext& context) {
  if (!context.limits->runs_hopper_code()) return Status::unsupported("spmm: these tiles need compute capability 9.0");
  if (!reads_vectors(p)) return Status::unsupported("spmm: B does not fit 16-byte vectors");
  if (p.tiles.items == nullptr || !is_aligned(p.tiles.items)) return Status::unsupported("spmm: tiles are not shared out");
  if (p.batch > kMostItems || p.tiles.items_count > kMostItems) return Status::limit("spmm: too many problems or items");
  return p.dtype == DType::kFloat16 ? launch_hopper_tiles<__half>(p, context) : launch_hopper_tiles<__nv_bfloat16>(p, context);
}

Status run_bins(const SpmmParams& p, const LaunchContext& context) {
  if (!p.pattern.is_csr() || p.bins.items == 0) return Status::unsupported("spmm: the matrix has no table of rows by length");
  if (!has_bins(p.dtype, p.plan)) return Status::unsupported("spmm: no row-bin kernel of this shape");
  if (p.plan.block_items > p.bins.items || p.plan.warp_items > p.bins.items - p.plan.block_items) {
    return Status::invalid("spmm: more items have blocks or warps than there are");
  }
  WARPTILE_RETURN_IF_ERROR(check_gather(p));
  if (!is_aligned(p.bins.data)) return Status::unsupported("spmm: row bins need a table at a multiple of 16 bytes");
  return dispatch_float(p.dtype, [&](auto element) { return launch_bins<decltype(element)>(p, context); });
}

Status run_stream(const SpmmParams& p, const LaunchContext& context) {
  if (!p.pattern.is_csr() || p.bins.items == 0) return Status::unsupported("spmm: the matrix has no table of shares of entries");
  if (!has_stream(p.dtype, p.plan)) return Status::unsupported("spmm: no stream kernel of this shape");
  if (p.plan.block_items > p.bins.items || p.plan.warp_items > p.bins.items - p.plan.block_items) {
    return Status::invalid("spmm: more items have blocks or warps than there are");
  }
  WARPTILE_RETURN_IF_ERROR(check_gather(p));
  if (!is_aligned(p.bins.data)) return Status::unsupported("spmm: streams need a table at a multiple of 16 bytes");
  const bool column = p.plan.lanes == 1;
  if (column && p.n != 1) return Status::unsupported("spmm: this stream takes one column");
  if (!column && p.bins.steps == nullptr && p.pattern.stored > 0) return Status::unsupported("spmm: the table does not say where rows end");
  return dispatch_float(p.dtype, [&](auto element) {
    using T = decltype(element);
    return column ? launch_stream_column<T>(p, context) : launch_stream<T>(p, context);
  });
}

Status run_tiles(const SpmmParams& p, const LaunchContext& context) {
  if (p.tiles.rows == 0) return Status::unsupported("spmm: the matrix has no copy in tiles");
  const bool floats = p.dtype == DType::kFloat32;
  if (p.values_stride != 0) return Status::unsupported("spmm: tiles need one set of values");
  if (!(floats ? has_float_tiles(p.plan, p.tiles.rows) : has_tiles(p.plan, p.tiles.rows))) {
    return Status::unsupported("spmm: no tile kernel of this shape");
  }
  if (!is_aligned(p.tiles.values)) return Status::unsupported("spmm: tiles need a multiple of 16 bytes");
  if (p.plan.cluster > 1 && !context.limits->runs_hopper_code()) {
    return Status::unsupported("spmm: clusters need compute capability 9.0");
  }
  if (floats) return launch_float_tiles(p, context);
  // Without tiles there is nothing to copy: any kernel writes beta C.
  if (p.plan.warps > 1 && p.tiles.count > 0) return run_hopper_tiles(p, context);
  return p.dtype == DType::kFloat16 ? launch_tiles<__half>(p, context) : launch_tiles<__nv_bfloat16>(p, context);
}

Status run_panel(const SpmmParams& p, const LaunchContext& context) {
  if (p.dtype != DType::kFloat32 || !p.pattern.is_csr()) return Status::unsupported("spmm: panels need a CSR matrix in float32");
  if (!has_panel(p.plan)) return Status::unsupported("spmm: no panel kernel of this shape");
  if (!reads_vectors(p)) return Status::unsupported("spmm: B does not fit 16-byte vectors");
  if (p.plan.cluster > 1 && !context.limits->runs_hopper_code()) {
    return Status::unsupported("spmm: clusters need compute capability 9.0");
  }
  return launch_panel(p, context);
}

Status run_strips(const SpmmParams& p, const LaunchContext& context) {
  if (p.dtype != DType::kFloat32 || !p.pattern.is_csr()) return Status::unsupported("spmm: strips need a CSR matrix in float32");
  if (p.strips.rows == 0) return Status::unsupported("spmm: the matrix has no copy in strips");
  if (p.values_stride != 0) return Status::unsupported("spmm: strips need one set of values");
  if (!has_strips(p.plan, p.strips.rows)) return Status::unsupported("spmm: no strip kernel of this shape");
  if (!fits_pieces(p)) return Status::unsupported("spmm: operands do not fit the plan's loads");
  if (p.plan.vector > 4 && readable_columns(p) % (p.plan.vector * p.plan.lanes) != 0) {
    return Status::unsupported("spmm: these strips need whole tiles of columns");
  }
  if (p.ldb > UINT32_MAX / static_cast<int64_t>(sizeof(float))) {
    return Status::unsupported("spmm: rows of B are 4 GiB apart or more");
  }
  if (!is_aligned(p.strips.columns) || !is_aligned(p.strips.values) || !is_aligned(p.strips.items)) {
    return Status::unsupported("spmm: strips need multiples of 16 bytes");
  }
  return launch_strips(p, context);
}

bool power_of_two(int value, int most) { return value >= 1 && value <= most && (value & (value - 1)) == 0; }

}  // namespace

bool has_columns(DType dtype, const SpmmPlan& plan) {
  const int most = whole_vector(dtype_bytes(dtype));
  const int lanes = plan.lanes;
  if (plan.vector == 1) return plan.piece == 1 && (lanes == 1 || lanes == 4 || lanes == 8 || lanes == 32);
  if (plan.vector == most && plan.piece == most) return power_of_two(lanes, kWarpSize);
  if (plan.piece == 2 && lanes == 1) return plan.vector == 4;
  if (plan.piece == 2) return plan.vector == most && (lanes == 4 || lanes == 16 || (most == 4 && (lanes == 8 || lanes == 32)));
  return plan.piece == 1 && plan.vector == 4 && (lanes == 1 || lanes == 4 || lanes == 8 || lanes == 32);
}

bool has_group(DType dtype, const SpmmPlan& plan) {
  if (!has_columns(dtype, plan) || !power_of_two(plan.warps, kMaxGroupWarps)) return false;
  const int all = 32 / plan.lanes;
  const int few = all >= 4 ? all / 4 : 1;
  if (plan.splits != all && plan.splits != few && (plan.splits != 1 || plan.lanes > 2)) return false;
  const int most_bundled = kMaxBundleThreads / (kWarpSize * std::max(1 << kGroupWarpsLog2, plan.warps));
  if (plan.bundle < 1 || plan.bundle > most_bundled) return false;
  return plan.warps == 1 || plan.splits == all;
}

bool has_bins(DType dtype, const SpmmPlan& plan) {
  return has_columns(dtype, plan) && (plan.splits == 1 || (plan.splits == kBinSplits && plan.lanes <= 8));
}

bool has_stream(DType dtype, const SpmmPlan& plan) {
  if (plan.lanes == 1) return plan.vector == 1 && plan.piece == 1;
  const int most = whole_vector(dtype_bytes(dtype));
  if (plan.lanes != kStreamLanes) return false;
  if (plan.piece == most) return plan.vector == most;
  return (plan.vector == 4 || plan.vector == 8) && (plan.piece == 1 || (plan.piece == 2 && plan.vector >= most));
}

bool has_tiles(const SpmmPlan& plan, int tile_rows) {
  if (tile_rows != 32 && tile_rows != 64 && tile_rows != 128) return false;
  if (!power_of_two(plan.cluster, kMaxCluster)) return false;
  if (plan.warps == 1) return plan.columns == tile_rows;
  const bool columns = plan.columns == 64 || plan.columns == 128 || plan.columns == 256 || (plan.columns == 32 && tile_rows == 64);
  return plan.warps == 4 && tile_rows >= 64 && columns && (plan.cluster == 1 || plan.columns < 256);
}

bool has_float_tiles(const SpmmPlan& plan, int tile_rows) {
  const bool shape = tile_rows == 32 ? plan.columns == 32 || plan.columns == 128 : tile_rows == 64 && plan.columns == 128;
  return shape && power_of_two(plan.cluster, kMaxCluster);
}

bool has_strips(const SpmmPlan& plan, int strip_rows) {
  if (!power_of_two(plan.warps, kStripWarps)) return false;
  if (plan.vector == 8) return strip_rows == 4 && plan.piece == 4 && plan.lanes == 16;
  if (plan.vector != 4 || (plan.piece != 2 && plan.piece != 4)) return false;
  if (strip_rows == 4) return plan.lanes == 32;
  return strip_rows == 8 && (plan.lanes == 8 || plan.lanes == 16 || plan.lanes == 32);
}

bool has_panel(const SpmmPlan& plan) {
  const int rows = plan.warp_rows;
  return (rows == 1 || rows == 4 || rows == 8 || rows == 16) && power_of_two(plan.cluster, kMaxCluster);
}

}  // namespace spmm_kernels

Status spmm(const SpmmParams& params, const LaunchContext& context) {
  const SparsePattern& a = params.pattern;
  if (a.rows == 0 || params.n == 0 || params.batch == 0) return Status::ok();
  switch (params.plan.variant) {
    case SpmmVariant::kRowGroup:
      return spmm_kernels::run_group(params, context);
    case SpmmVariant::kRowBins:
      return spmm_kernels::run_bins(params, context);
    case SpmmVariant::kStream:
      return spmm_kernels::run_stream(params, context);
    case SpmmVariant::kTiles:
      return spmm_kernels::run_tiles(params, context);
    case SpmmVariant::kPanel:
      return spmm_kernels::run_panel(params, context);
    case SpmmVariant::kStrips:
      return spmm_kernels::run_strips(params, context);
    default:
      return a.is_csr() ? spmm_kernels::launch_csr(params, context) : spmm_kernels::launch_block(params, context);
  }
}

}  // namespace warptile
