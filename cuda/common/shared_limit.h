// How much dynamic shared memory the blocks of a kernel may have.
#pragma once

#include <cstddef>

#include "common/status.h"

namespace warptile {

// Lets blocks of a kernel have so many bytes on a device, which is the current one. Limits belong to the process and only grow: another
// thread may be about to launch what it asked for. What was allowed before takes no call of the driver.
Status raise_shared_limit(const void* kernel, int device, size_t bytes);

}  // namespace warptile
