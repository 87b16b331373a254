// The operations that the addon offers: each reads its command, fills its Params and enqueues.
#pragma once

#include "addon/command_reader.h"
#include "common/context.h"
#include "common/status.h"

namespace warptile::addon {

using Operation = Status (*)(CommandReader& in, const LaunchContext& context);

struct OperationRow {
  const char* name;  // as in lib/backends/backend.ts, Operations; or 'diagnostic...'
  Operation run;
};

Status attention(CommandReader& in, const LaunchContext& context);
// The diagnostic rows are for tests and the benchmark: no public operation uses them.
Status diagnostic_read(CommandReader& in, const LaunchContext& context);
Status diagnostic_spin(CommandReader& in, const LaunchContext& context);
Status diagnostic_trap(CommandReader& in, const LaunchContext& context);
Status kronecker_matmul(CommandReader& in, const LaunchContext& context);
Status neighborhood_attention(CommandReader& in, const LaunchContext& context);
Status sddmm(CommandReader& in, const LaunchContext& context);
Status sparse_attention(CommandReader& in, const LaunchContext& context);
Status sparse_softmax(CommandReader& in, const LaunchContext& context);
Status spmm(CommandReader& in, const LaunchContext& context);
Status spmm_fill_strips(CommandReader& in, const LaunchContext& context);
Status spmm_fill_tiles(CommandReader& in, const LaunchContext& context);
Status transpose_values(CommandReader& in, const LaunchContext& context);
Status w4a16_matmul(CommandReader& in, const LaunchContext& context);

}  // namespace warptile::addon
