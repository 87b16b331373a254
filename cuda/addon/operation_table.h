#pragma once

#include <vector>

#include "addon/operations.h"

namespace warptile::addon {

const std::vector<OperationRow>& operation_table();

}  // namespace warptile::addon
