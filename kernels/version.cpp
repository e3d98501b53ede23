#include "kernels/version.h"

#include "fulmar_commit.h"

namespace fulmar {

const char* version() { return FULMAR_VERSION; }

const char* commit() { return FULMAR_COMMIT; }

}  // namespace fulmar
