#pragma once

#include "kernels/backend.h"

namespace fulmar {

// Fills all lines of the table but the kernels, for a backend that uses the host's memory and does
// its work before a call returns. Such a backend captures nothing.
void use_host_memory(Backend& backend);

}  // namespace fulmar
