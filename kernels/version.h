#pragma once

#include "kernels/api.h"

namespace fulmar {

// Version of the library, "0.1.0".
FULMAR_API const char* version();

// Abbreviated commit that the build is of, with "+" for a changed tree; "unknown" outside git.
FULMAR_API const char* commit();

}  // namespace fulmar
