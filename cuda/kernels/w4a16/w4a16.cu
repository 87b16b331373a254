// W4A16: checks, the choice of a variant, launches.
#include "api/w4a16.h"

#include "common/launch.cuh"
#include "common/workspace.h"
#include "kernels/w4a16/config.h"
#include "kernels/w4a16/reduce.cuh"
#include "kernels/w4a16/small.cuh"
#include "kernels/w4a16/tiled.cuh"

namespace warptile {
namespace w4a16 {
namespace {

Status check(const W4A16MatmulParams& p) {
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.group_size < 1 || p.splits < 0) {
    return Status::invalid("w4a16_matmul: a size is out of range");
  }
  if (p.n > kMaxSide || p.k > kMaxSide) {
    return Status::limit("w4a16_matmul: the kernels take matrices of at most " + std::to_string(kMaxSide) + " a side");
  }
  if (p.splits > kMaxSplits) return Status::limit("w4a16_matmul: at most " + std::to_string(kMaxSplits) + " splits");
  if (p.groups != ceil_div(p.k, p.group_size)) return Status::invalid("w4a16_matmul: groups do not cover k");
  return Status::ok();
}

template <typename T>
Status run_small(const Operands<T>& in, const Plan& plan, const LaunchContext& context) {
  const LaunchShape shape{plan.tiles, plan.splits, 1, SmallConfig::kThreads, 0};
  switch (plan.tile_m) {
    case 1:
      return launch(context, w4a16_small_kernel<T, 1>, shape, in);
    case 2:
      return launch(context, w4a16_small_kernel<T, 2>, shape, in);
    case 4:
      return launch(context, w4a16_small_kernel<T, 4>, shape, in);
    default:
      return launch(context, w4a16_small_kernel<T, SmallConfig::kMaxTileM>, shape, in);
  }
}

template <typename T>
Status run(const W4A16MatmulParams& p, const LaunchContext& context) {
  const Plan plan = select(p.m, p.n, p.k, p.splits, context.limits->multiprocessors);
  void* partial = nullptr;
  if (plan.splits > 1) {
    WARPTILE_RETURN_IF_ERROR(
        allocate_workspace(context, "w4a16_matmul", {plan.splits, p.m, p.n, static_cast<int64_t>(sizeof(float))}, &partial));
  }
  const Operands<T> in{
      static_cast<const T*>(p.x),
      p.packed,
      static_cast<const T*>(p.scales),
      p.zero_points,
      p.permutation,
      p.column_groups,
      static_cast<const T*>(p.bias),
      static_cast<T*>(p.y),
      static_cast<float*>(partial),
      p.m,
      p.n,
      p.k,
      static_cast<int>(ceil_div(p.k, 8)),
      p.group_size,
      plan.split_columns,
      p.column_groups == nullptr && p.group_size % 8 == 0,
  };
  if (plan.small) {
    WARPTILE_RETURN_IF_ERROR(run_small(in, plan, context));
  } else {
    const LaunchShape shape{plan.tiles, plan.splits, 1, TiledConfig::kThreads, 0};
    WARPTILE_RETURN_IF_ERROR(launch(context, w4a16_tiled_kernel<T>, shape, in));
  }
  if (plan.splits == 1) return Status::ok();
  const int64_t elements = p.m * p.n;
  const LaunchShape shape{ceil_div(elements, kReduceThreads), 1, 1, kReduceThreads, 0};
  return launch(context, w4a16_reduce_kernel<T>, shape, in.partial, in.bias, in.y, elements, p.n, plan.splits);
}

}  // namespace
}  // namespace w4a16

Status w4a16_matmul(const W4A16MatmulParams& params, const LaunchContext& context) {
  WARPTILE_RETURN_IF_ERROR(w4a16::check(params));
  if (params.m == 0 || params.n == 0) return Status::ok();
  return dispatch_float(params.dtype,
                        [&](auto element) { return w4a16::run<decltype(element)>(params, context); });
}

}  // namespace warptile
