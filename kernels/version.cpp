#include "kernels/version.h"

namespace fulmar {

const char* version() { return FULMAR_VERSION; }

const char* commit() { return FULMAR_COMMIT; }

}  // namespace fulmar
