#pragma once

#include "kernels/backend.h"

namespace fulmar {

// Memory and order of a backend whose memory is the host's and whose calls end before they return:
// all lines of the table but the kernels. Nothing is captured.
void use_host_memory(Backend& backend);

}  // namespace fulmar
