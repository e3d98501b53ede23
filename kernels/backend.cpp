#include "kernels/backend.h"

#include <string>

#include "kernels/error.h"

namespace fulmar {

void require_complete(const Backend& backend) {
  const auto require = [&](bool there, const char* kernel) {
    if (!there)
      device_error(std::string(backend.name) + ": its table of kernels has no '" + kernel +
                   "': add it to the backend, or build the backend's library anew");
  };
#define FULMAR_REQUIRE(name, ...) require(backend.name != nullptr, #name);
  FULMAR_KERNELS(FULMAR_REQUIRE)
#undef FULMAR_REQUIRE
#define FULMAR_REQUIRE(name) require(backend.name##_workspace != nullptr, #name "_workspace");
  FULMAR_WORKSPACE_KERNELS(FULMAR_REQUIRE)
#undef FULMAR_REQUIRE
}

}  // namespace fulmar
