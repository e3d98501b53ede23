#include "kernels/backend.h"

#include "kernels/cpu/ops.h"
#include "kernels/host_memory.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/backend.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Highway's name, but for "AVX3", which nobody else calls so.
const char* isa() { return HWY_TARGET == HWY_AVX3 ? "AVX-512" : hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar {
namespace cpu {

HWY_EXPORT(isa);
const char* isa() { return HWY_DYNAMIC_DISPATCH(isa)(); }

namespace {

const FusedKernels& fused_kernels() {
  static const FusedKernels kernels = [] {
    FusedKernels k{};
#define FULMAR_SET(name, ...) k.name = name;
    FULMAR_FUSED_KERNELS(FULMAR_SET)
#undef FULMAR_SET
#define FULMAR_SET(name) k.name##_workspace = name##_workspace;
    FULMAR_FUSED_WORKSPACE_KERNELS(FULMAR_SET)
#undef FULMAR_SET
    return k;
  }();
  return kernels;
}

Backend make() {
  Backend b{};
  b.version = Backend::current_version;
  b.name = "cpu";
  b.isa = isa;
  b.real = b.activation = DType::f32;

  use_host_memory(b);
  b.allocate = allocate;
  b.release = release;

#define FULMAR_SET(name, ...) b.name = name;
  FULMAR_KERNELS(FULMAR_SET)
#undef FULMAR_SET
#define FULMAR_SET(name) b.name##_workspace = name##_workspace;
  FULMAR_WORKSPACE_KERNELS(FULMAR_SET)
#undef FULMAR_SET
  b.fused = &fused_kernels();
  return b;
}

}  // namespace
}  // namespace cpu

const Backend& cpu_backend() {
  static const Backend backend = cpu::make();
  return backend;
}

}  // namespace fulmar
#endif
