#include "api/diagnostics.h"

#include "addon/operations.h"

namespace warptile::addon {

// Long enough for any test, short enough to wait for.
constexpr int64_t kMaxSpinMilliseconds = 10000;

Status diagnostic_spin(CommandReader& in, const LaunchContext& context) {
  const int64_t milliseconds = in.size("milliseconds");
  in.finish();
  if (milliseconds > kMaxSpinMilliseconds) return Status::invalid("milliseconds: at most 10000");
  return spin(milliseconds * 1000000, context);
}

Status diagnostic_trap(CommandReader& in, const LaunchContext& context) {
  in.finish();
  return trap(context);
}

Status diagnostic_read(CommandReader& in, const LaunchContext& context) {
  constexpr int64_t kWord = 16;
  ReadParams params;
  params.bytes = in.size("bytes");
  if (params.bytes % kWord != 0) return Status::invalid("bytes: a multiple of 16");
  params.source = in.input("source", kWord, {params.bytes / kWord});
  params.sink = static_cast<uint32_t*>(in.output("sink", sizeof(uint32_t), {1}));
  in.finish();
  return read(params, context);
}

}  // namespace warptile::addon
