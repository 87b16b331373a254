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

}  // namespace warptile::addon
