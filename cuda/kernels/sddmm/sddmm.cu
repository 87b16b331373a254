// SDDMM: checks that the plan fits the problem, and launches it.

#include "api/sddmm.h"

#include "common/numeric.cuh"
#include "kernels/sddmm/config.h"

namespace warptile {
namespace sddmm_kernels {
namespace {

// Gathered rows are walked with 32 bits.
bool has_short_rows(const SddmmParams& p) {
  const int64_t most = INT32_MAX / static_cast<int64_t>(dtype_bytes(p.dtype));
  return p.lda <= most && p.ldb <= most;
}

Status run_gather(const SddmmParams& p, const LaunchContext& context) {
  if (!p.pattern.is_csr()) return Status::unsupported("sddmm: rows and gather need a CSR mask");
  if (!has_gather(p.dtype, p.plan)) return Status::unsupported("sddmm: no gather kernel of this shape");
  if (p.plan.splits < 1 || p.plan.splits > kMaxSplits) return Status::unsupported("sddmm: splits are not from 1 to 64");
  if (!takes_vectors(p, p.plan.vector)) return Status::unsupported("sddmm: operands do not fit the plan's vectors");
  if (!has_short_rows(p)) return Status::unsupported("sddmm: rows of A or B are 2 GiB apart or more");
  return dispatch_float(p.dtype, [&](auto element) { return launch_gather<decltype(element)>(p, context); });
}

Status run_warpgroups(const SddmmParams& p, const LaunchContext& context) {
  if (!context.limits->runs_hopper_code()) return Status::unsupported("sddmm: warpgroups need compute capability 9.0");
  if (p.depth == 0) return Status::unsupported("sddmm: warpgroups need a column of A and B");
  return p.dtype == DType::kFloat16 ? launch_warpgroups<__half>(p, context) : launch_warpgroups<__nv_bfloat16>(p, context);
}

// Tiles, staged and warpgroups.
Status run_tiles(const SddmmParams& p, const LaunchContext& context) {
  if (!p.pattern.is_csr()) return Status::unsupported("sddmm: tiles need a CSR mask");
  if (!has_tile(p.dtype, p.plan)) return Status::unsupported("sddmm: no tile kernel of this shape");
  if (p.tiles.rows != p.plan.tile) return Status::unsupported("sddmm: the mask has no map of such tiles");
  if (!takes_vectors(p, p.plan.vector)) return Status::unsupported("sddmm: operands do not fit the plan's vectors");
  if (p.plan.variant == SddmmVariant::kStaged) return launch_staged(p, context);
  if (p.plan.variant == SddmmVariant::kWarpgroups) return run_warpgroups(p, context);
  return dispatch_float(p.dtype, [&](auto element) { return launch_tiles<decltype(element)>(p, context); });
}

}  // namespace

bool has_gather(DType dtype, const SddmmPlan& plan) {
  const int lanes = plan.lanes;
  if (plan.vector == 1) return lanes == 1 || lanes == 8 || lanes == 32;
  if (plan.vector == 2) return lanes == 1 || lanes == 4 || lanes == 8 || lanes == 16 || lanes == 32;
  if (plan.vector * static_cast<int>(dtype_bytes(dtype)) != kVectorBytes) return false;
  return lanes == 1 || lanes == 2 || lanes == 4 || lanes == 8 || lanes == 16 || lanes == 32;
}

bool has_tile(DType dtype, const SddmmPlan& plan) {
  const int tile = plan.tile;
  const bool vectors = plan.vector * static_cast<int>(dtype_bytes(dtype)) == kVectorBytes;
  if (!vectors && plan.vector != 1) return false;
  if (plan.variant == SddmmVariant::kStaged) {
    return dtype == DType::kFloat32 && (tile == 32 || tile == 64 || tile == 128 || tile == 256);
  }
  if (plan.variant == SddmmVariant::kWarpgroups) return dtype != DType::kFloat32 && vectors && tile == 128;
  return tile == 32 || tile == 64 || (tile == 128 && dtype != DType::kFloat32);
}

}  // namespace sddmm_kernels

Status sddmm(const SddmmParams& params, const LaunchContext& context) {
  const SparsePattern& s = params.pattern;
  // A depth of 0 is no empty problem: its sums are 0.
  if (s.stored == 0 || params.batch == 0) return Status::ok();
  switch (params.plan.variant) {
    case SddmmVariant::kRows:
    case SddmmVariant::kGather:
      return sddmm_kernels::run_gather(params, context);
    case SddmmVariant::kTiles:
    case SddmmVariant::kStaged:
    case SddmmVariant::kWarpgroups:
      return sddmm_kernels::run_tiles(params, context);
    default:
      return s.is_csr() ? sddmm_kernels::launch_csr(params, context) : sddmm_kernels::launch_block(params, context);
  }
}

}  // namespace warptile
