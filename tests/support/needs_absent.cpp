extern "C" int fulmar_absent();
// A library that is loaded only where libfulmar_absent.so is found.
extern "C" __attribute__((visibility("default"))) int fulmar_needs_absent() {
  return fulmar_absent();
}
