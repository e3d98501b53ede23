#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/api.h"

namespace fulmar {

// A backend that is a library of its own, loaded when asked for. It may lie where an environment
// variable says ("none": nowhere), else beside the program (or libfulmar) or in the lib folder that
// belongs to it.
struct FULMAR_API BackendLibrary {
  const char* name;       // what errors begin with: "cuda"
  const char* file_name;  // "libfulmar_cuda.so"
  const char* variable;   // "FULMAR_CUDA_LIBRARY"
  const char* symbol;     // the function that it exports
  const char* how_to_build;
  const char* how_to_install;  // what it needs

  std::vector<std::string> places() const;
  // The first of these places that has the library; empty where none has.
  std::string find() const;
  // Whether the library is there, or the variable names a path.
  bool is_expected() const;

  // What its function, `const Interface* ()`, returns, for as long as the process lives.
  // Error(device) names the missing part: the library, a library that it needs, or its function.
  template <class Interface>
  struct Loaded {
    const Interface* interface;
    std::string path;
  };
  template <class Interface>
  Loaded<Interface> load() const {
    const auto [address, path] = load_function();
    return {reinterpret_cast<const Interface* (*)()>(address)(), path};
  }

 private:
  struct Function {
    void* address;
    std::string path;  // of the library
  };
  Function load_function() const;
};

// Error(device) where a version found in the library at `path` is not the one that this program
// needs.
FULMAR_API void require_version(const BackendLibrary& library, const std::string& path,
                                const char* what, uint32_t found, uint32_t expected);
// Error(device) where what the two share is laid out otherwise.
FULMAR_API void require_layout(const BackendLibrary& library, const std::string& path,
                               uint64_t found, uint64_t expected);

}  // namespace fulmar
