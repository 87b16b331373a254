// Commands that two readers share: the operation itself, and its peers in the benchmark.
#pragma once

#include "addon/command_reader.h"
#include "api/sddmm.h"
#include "api/spmm.h"

namespace warptile::addon {

struct SddmmCommand {
  SddmmParams params;
  bool padded = false;  // by copies of A and B
};
struct SpmmCommand {
  SpmmParams params;
  bool padded = false;  // by copies of B and C
};

SddmmCommand read_sddmm(CommandReader& in);
SpmmCommand read_spmm(CommandReader& in);

}  // namespace warptile::addon
