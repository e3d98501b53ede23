#include "engine/backend_library.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "kernels/error.h"

namespace fulmar {
namespace {

namespace fs = std::filesystem;

const char* asked_for(const BackendLibrary& library) {
  const char* path = std::getenv(library.variable);
  return path && *path ? path : nullptr;
}

bool switched_off(const BackendLibrary& library) {
  return asked_for(library) && std::string_view(asked_for(library)) == "none";
}

// The folder of the file that this code was loaded from: the program's, or libfulmar's.
fs::path own_folder() {
  Dl_info info{};
  void* map = nullptr;
  std::error_code error;
  fs::path own;
  // The program itself is known by the name that it was called by, which need not be a path.
  if (::dladdr1(reinterpret_cast<void*>(&own_folder), &info, &map, RTLD_DL_LINKMAP) != 0 && map &&
      *static_cast<link_map*>(map)->l_name)
    own = fs::absolute(info.dli_fname, error);
  else
    own = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : own.parent_path();
}

[[noreturn]] void fail(const BackendLibrary& library, const std::string& what) {
  device_error(std::string(library.name) + ": " + what);
}

}  // namespace

std::vector<std::string> BackendLibrary::places() const {
  if (switched_off(*this)) return {};
  if (const char* path = asked_for(*this)) return {path};
  const fs::path folder = own_folder();
  std::vector<std::string> places{(folder / file_name).string()};
  // FULMAR_LIBRARY_FOLDER: from where programs are installed to where libraries are.
  const fs::path installed = (folder / FULMAR_LIBRARY_FOLDER / file_name).lexically_normal();
  if (installed != places[0]) places.push_back(installed.string());
  return places;
}

std::string BackendLibrary::find() const {
  std::error_code error;
  for (const std::string& place : places())
    if (fs::exists(place, error)) return place;
  return {};
}

bool BackendLibrary::is_expected() const {
  return !switched_off(*this) && (asked_for(*this) || !find().empty());
}

BackendLibrary::Function BackendLibrary::load_function() const {
  if (switched_off(*this))
    fail(*this, std::string("switched off by ") + variable + "=none: take it out");
  const std::string path = find();
  if (path.empty() && asked_for(*this))
    fail(*this, std::string(asked_for(*this)) + ", which " + variable +
                    " names, is not there: correct the variable or take it out");
  if (path.empty()) {
    std::string looked_for;
    for (const std::string& place : places())
      looked_for += (looked_for.empty() ? "" : " and ") + place;
    fail(*this, "the backend's library is not there (looked for " + looked_for +
                    "): " + how_to_build + ", or name it by " + variable);
  }
  // A name without a slash would be sought elsewhere.
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  void* handle = ::dlopen(whole.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = ::dlerror();
    fail(*this, path + " can't be loaded: " + (why ? why : "no reason given") + "; " +
                    how_to_install + ", or add the folder that holds it to LD_LIBRARY_PATH");
  }
  void* const address = ::dlsym(handle, symbol);
  if (!address) {
    ::dlclose(handle);
    fail(*this, path + " is no backend of Fulmar's: it has no function " + symbol);
  }
  return {address, path};
}

void require_version(const BackendLibrary& library, const std::string& path, const char* what,
                     uint32_t found, uint32_t expected) {
  if (found != expected)
    fail(library, path + " has version " + std::to_string(found) + " of the " + what +
                      ", this program needs version " + std::to_string(expected) +
                      ": build both from one source");
}

void require_layout(const BackendLibrary& library, const std::string& path, uint64_t found,
                    uint64_t expected) {
  if (found != expected)
    fail(library, path +
                      " lays out what it shares with this program in another way: build both from "
                      "one source with one compiler");
}

}  // namespace fulmar
