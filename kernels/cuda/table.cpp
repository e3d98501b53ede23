#include "kernels/cuda/ops.h"
#include "kernels/no_workspace.h"

namespace fulmar::cuda {
namespace {

const FusedKernels& fused_kernels() {
  static const FusedKernels made = [] {
    FusedKernels k{};
#define FULMAR_SET(name, ...) k.name = name;
    FULMAR_CUDA_FUSED_KERNELS(FULMAR_SET)
#undef FULMAR_SET
#define FULMAR_SET(name) k.name##_workspace = name##_workspace;
    FULMAR_CUDA_FUSED_WORKSPACE_KERNELS(FULMAR_SET)
#undef FULMAR_SET
    return k;
  }();
  return made;
}

}  // namespace

Backend table(const char* name, const char* (*isa)(), Precision precision) {
  Backend b{};
  b.version = Backend::current_version;
  b.name = name;
  b.isa = isa;
  b.real = DType::f32;
  b.activation = precision == Precision::bf16 ? DType::bf16 : DType::f32;

  b.fused = &fused_kernels();

  set_memory(b);

#define FULMAR_SET(name, ...) b.name = name;
  FULMAR_KERNELS(FULMAR_SET)
#undef FULMAR_SET
#define FULMAR_SET(name) b.name##_workspace = no_workspace;
  FULMAR_WORKSPACE_KERNELS(FULMAR_SET)
#undef FULMAR_SET

  set_vendor(b);
  return b;
}

}  // namespace fulmar::cuda
