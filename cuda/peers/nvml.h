// A card's energy counter, through the driver's management library.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace warptile::peers {

// The library's file, or why there is none.
Status nvml_library(std::string* description);

// Millijoules that the card has used since its driver was loaded (Volta and later). The counter moves in steps of some tens of
// milliseconds: take differences over seconds.
Status nvml_energy(int ordinal, uint64_t* millijoules);

}  // namespace warptile::peers
