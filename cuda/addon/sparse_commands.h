// Commands that two readers share: the operation itself, and its peers in the benchmark.
#pragma once

#include "addon/command_reader.h"
#include "api/sddmm.h"
#include "api/spmm.h"

namespace warptile::addon {

SddmmParams read_sddmm(CommandReader& in);
SpmmParams read_spmm(CommandReader& in);

}  // namespace warptile::addon
