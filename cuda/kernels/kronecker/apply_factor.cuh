// Chooses the kernel for one factor and launches it.
#pragma once

#include <type_traits>

#include "common/launch.cuh"
#include "kernels/kronecker/apply_factor.h"
#include "kernels/kronecker/dot.cuh"
#include "kernels/kronecker/tile.cuh"

namespace warptile::kronecker {

template <typename In, typename Weight, typename Out>
Status launch_factor(const FactorCall& call, const LaunchContext& context) {
  const auto& [a, b, c, d, values] = call.factor;
  const FactorProblem<In, Weight, Out> problem{
      a, b, c, d, call.batch,
      static_cast<const In*>(call.x),
      static_cast<const Weight*>(values),
      static_cast<const Weight*>(call.bias),
      static_cast<Out*>(call.y),
      feature_strides(a, c, d, call.batch, call.batch_last),
      feature_strides(a, b, d, call.batch, call.batch_last)};
  const Plan plan = select_plan(a, b, c, d, call.batch, call.batch_last);
  LaunchShape shape;
  shape.threads = kThreads;
  // Blocks loop over what a grid cannot hold.
  if (plan.variant == Variant::kDot) {
    const int64_t warps = ceil_div(plan.items, int64_t{32} >> plan.log_lanes);
    shape.grid_x = std::min(ceil_div(warps, kWarps), kMaxGridX);
    return plan.rows_per_thread == 1
               ? launch(context, kronecker_dot_kernel<1, In, Weight, Out>, shape, problem, plan)
               : launch(context, kronecker_dot_kernel<4, In, Weight, Out>, shape, problem, plan);
  }
  shape.grid_x = std::min(plan.items, kMaxGridX);
  switch (plan.outputs_per_thread) {
    case 1:
      return launch(context, kronecker_tile_kernel<1, In, Weight, Out>, shape, problem, plan);
    case 4:
      return launch(context, kronecker_tile_kernel<4, In, Weight, Out>, shape, problem, plan);
    default:
      return launch(context, kronecker_tile_kernel<8, In, Weight, Out>, shape, problem, plan);
  }
}

template <typename Weight>
Status apply_factor(const FactorCall& call, const LaunchContext& context) {
  if constexpr (std::is_same_v<Weight, float>) {
    return launch_factor<float, float, float>(call, context);
  } else if (call.x_is_float32) {
    return call.y_is_float32 ? launch_factor<float, Weight, float>(call, context)
                             : launch_factor<float, Weight, Weight>(call, context);
  } else {
    return call.y_is_float32 ? launch_factor<Weight, Weight, float>(call, context)
                             : launch_factor<Weight, Weight, Weight>(call, context);
  }
}

}  // namespace warptile::kronecker
