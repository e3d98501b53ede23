#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/counted/counts.h"

namespace fulmar {

// What the library that counts gives to the program that loads it, by one function: the CUDA
// backend on the emulator, whose kernels' code reports what it does.
struct CountedLibrary {
  static constexpr uint32_t current_version = 1;
  static constexpr const char* symbol = "fulmar_counted_library";
  static constexpr const char* file_name = "libfulmar_counted.so";
  // Of what passes between the two: where it differs they were built from different sources.
  static constexpr uint64_t current_layout = sizeof(Backend) * 1000003 + sizeof(Stream) * 10007 +
                                             sizeof(View) * 1009 + sizeof(counted::Launch) * 101 +
                                             sizeof(counted::Machine);

  uint32_t version;
  uint64_t layout;
  const Backend& (*backend)(Precision);
  // A stream whose launches are counted for a model of this machine; closed by close. One thread
  // uses it.
  Stream (*open)(const counted::Machine&);
  void (*close)(const Stream&);
  // Launches from now on are counted, in their order, until take(), which gives them. L2 stays as
  // it is from one to the next.
  void (*begin)(const Stream&);
  std::vector<counted::Launch> (*take)(const Stream&);
  // Why nothing is known of arithmetic; empty where it is.
  std::string (*missing)();
};

using CountedLibraryFunction = const CountedLibrary* (*)();

}  // namespace fulmar
