#include "kernels/backend.h"

#include "kernels/host_memory.h"
#include "kernels/no_workspace.h"
#include "kernels/reference/kernels.h"

namespace fulmar {
namespace reference {
namespace {

Backend make() {
  Backend b{};
  b.version = Backend::current_version;
  b.name = "reference";
  b.isa = [] { return "float64"; };
  b.real = b.activation = DType::f64;

  use_host_memory(b);

#define FULMAR_SET(name, ...) b.name = name;
  FULMAR_KERNELS(FULMAR_SET)
#undef FULMAR_SET
#define FULMAR_SET(name) b.name##_workspace = no_workspace;
  FULMAR_WORKSPACE_KERNELS(FULMAR_SET)
#undef FULMAR_SET
  return b;
}

}  // namespace
}  // namespace reference

const Backend& reference_backend() {
  static const Backend backend = reference::make();
  return backend;
}

}  // namespace fulmar
