// fulmar-hdf5 FILE: reads an HDF5 file, or the one in a .keras archive, and writes its texts and
// arrays to standard output as hdf5_messages.h has it. A program of its own because the HDF5
// library of today's distributions crashes on some damaged files, and brings 30 shared libraries
// that take longer to load than fulmar does: `fulmar import` alone starts it.
#define H5_USE_110_API  // newer libraries have other functions of the same names
#include <hdf5.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "tools/keras/hdf5_messages.h"

namespace {

using namespace fulmar::keras;

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what); }

// ---- to the program

void write_all(const void* data, size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = ::write(STDOUT_FILENO, at, bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) ::_exit(1);  // nobody listens any more
    at += wrote;
    bytes -= static_cast<size_t>(wrote);
  }
}

template <class T>
void write_number(T number) {
  write_all(&number, sizeof number);
}

void write_text(const std::string& text) {
  write_number(static_cast<uint32_t>(text.size()));
  write_all(text.data(), text.size());
}

// Texts and arrays are counted before anything is allocated for them.
struct Budget {
  uint64_t left;
  const char* what;

  void take(uint64_t bytes, const std::string& where) {
    if (bytes > left) refuse(where + ": more than is read of " + what);
    left -= bytes;
  }
};
Budget texts{max_text_bytes, "texts (64 MiB)"}, arrays{max_array_bytes, "arrays (4 GiB)"};

// ---- the HDF5 library

using Close = herr_t (*)(hid_t);

// An open object of the library.
class Handle {
 public:
  Handle(hid_t id, Close close, const std::string& what) : id_(id), close_(close) {
    if (id < 0) refuse(what + reason());
  }
  ~Handle() { close_(id_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor): as the C API takes

  // What the library says: the innermost message of its stack.
  static std::string reason() {
    std::string text;
    H5Ewalk2(
        H5E_DEFAULT, H5E_WALK_UPWARD,
        [](unsigned n, const H5E_error2_t* error, void* to) -> herr_t {
          if (n == 0 && error->desc) *static_cast<std::string*>(to) = error->desc;
          return 0;
        },
        &text);
    return text.empty() ? "" : " (the HDF5 library: " + text + ")";
  }

 private:
  hid_t id_;
  Close close_;
};

void require(bool condition, const std::string& what) {
  if (!condition) refuse(what + Handle::reason());
}

class Reader {
 public:
  Reader(hid_t file, uint64_t file_bytes) : file_(file), file_bytes_(file_bytes) {}

  void read() { read_group(file_, "/", 0); }

 private:
  void read_group(hid_t group, const std::string& path, int64_t depth) {
    if (depth > max_depth) refuse(path + ": groups more than 64 deep");
    if (++objects_ > max_objects) refuse(path + ": the file holds too many objects");
    read_attributes(group, path);
    H5G_info_t info{};
    require(H5Gget_info(group, &info) >= 0, path + " can't be read");
    for (hsize_t i = 0; i < info.nlinks; i++) {
      const std::string name = link_name(group, path, i);
      const std::string inner = path + (path == "/" ? "" : "/") + name;
      // States of the optimiser are twice as large as the weights, and nobody asks for them.
      if (depth == 0 && (name == "optimizer_weights" || name == "optimizer")) continue;
      H5L_info_t link{};
      require(H5Lget_info(group, name.c_str(), &link, H5P_DEFAULT) >= 0, inner + " can't be read");
      if (link.type != H5L_TYPE_HARD)
        refuse(inner + ": a link to another place, which Keras doesn't write");
      const Handle object(H5Oopen(group, name.c_str(), H5P_DEFAULT), H5Oclose,
                          inner + " can't be opened");
      const H5I_type_t type = H5Iget_type(object);
      if (type == H5I_GROUP) read_group(object, inner, depth + 1);
      if (type == H5I_DATASET) read_array(object, inner);
    }
  }

  static std::string link_name(hid_t group, const std::string& path, hsize_t i) {
    const auto name = [&](char* to, size_t size) {
      return H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, to, size, H5P_DEFAULT);
    };
    const ssize_t length = name(nullptr, 0);
    require(length > 0 && length <= 4096, path + ": a name that can't be read");
    std::string text(static_cast<size_t>(length) + 1, '\0');
    require(name(text.data(), text.size()) == length, path + ": a name that can't be read");
    text.resize(static_cast<size_t>(length));
    return text;
  }

  void read_attributes(hid_t object, const std::string& path) {
    H5O_info_t info{};
    require(H5Oget_info(object, &info) >= 0, path + " can't be read");
    for (hsize_t i = 0; i < info.num_attrs; i++) {
      if (++objects_ > max_objects) refuse(path + ": the file holds too many attributes");
      const Handle attribute(
          H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT),
          H5Aclose, path + ": an attribute can't be opened");
      read_attribute(attribute, path);
    }
  }

  // Of texts; Keras writes no others that matter.
  void read_attribute(hid_t attribute, const std::string& path) {
    char name[256] = "";
    require(H5Aget_name(attribute, sizeof name, name) > 0, path + ": an attribute without a name");
    const std::string where = path + ", attribute '" + name + "'";
    const Handle type(H5Aget_type(attribute), H5Tclose, where + " can't be read");
    if (H5Tget_class(type) != H5T_STRING) return;
    const Handle space(H5Aget_space(attribute), H5Sclose, where + " can't be read");
    const hssize_t points = H5Sget_simple_extent_npoints(space);
    require(points >= 0 && points <= max_objects, where + " has an impossible extent");
    const auto count = static_cast<size_t>(points);
    const std::vector<std::string> values = H5Tis_variable_str(type) > 0
                                                ? varying(attribute, type, space, count, where)
                                                : fixed(attribute, type, count, where);
    write_number(Message::text_attribute);
    write_text(path);
    write_text(name);
    write_number(static_cast<uint32_t>(values.size()));
    for (const std::string& value : values) write_text(value);
  }

  std::vector<std::string> varying(hid_t attribute, hid_t type, hid_t space, size_t count,
                                   const std::string& where) {
    std::vector<char*> pointers(count, nullptr);
    if (count > 0)
      require(H5Aread(attribute, type, pointers.data()) >= 0, where + " can't be read");
    std::vector<std::string> values;
    for (const char* value : pointers) {
      const size_t bytes = value ? std::strlen(value) : 0;
      texts.take(bytes, where);
      values.emplace_back(value ? value : "", bytes);
    }
    if (count > 0) H5Dvlen_reclaim(type, space, H5P_DEFAULT, pointers.data());
    return values;
  }

  std::vector<std::string> fixed(hid_t attribute, hid_t type, size_t count,
                                 const std::string& where) {
    const size_t size = H5Tget_size(type);
    if (size == 0 || size > max_text_bytes) refuse(where + " has an impossible size");
    texts.take(size * count, where);
    std::vector<char> bytes(size * count);
    if (count > 0) require(H5Aread(attribute, type, bytes.data()) >= 0, where + " can't be read");
    std::vector<std::string> values;
    for (size_t i = 0; i < count; i++)
      values.emplace_back(&bytes[i * size], ::strnlen(&bytes[i * size], size));
    return values;
  }

  void read_array(hid_t array, const std::string& path) {
    if (++objects_ > max_objects) refuse(path + ": the file holds too many objects");
    const Handle type(H5Dget_type(array), H5Tclose, path + " can't be read");
    const H5T_class_t kind = H5Tget_class(type);
    if (kind != H5T_FLOAT && kind != H5T_INTEGER) refuse(path + ": its elements are no numbers");
    const Handle space(H5Dget_space(array), H5Sclose, path + " can't be read");
    const int rank = H5Sget_simple_extent_ndims(space);
    const hssize_t points = H5Sget_simple_extent_npoints(space);
    if (rank < 0 || rank > max_rank || points < 0 || points > INT64_MAX / 16)
      refuse(path + " has an impossible extent");
    std::vector<hsize_t> extents(static_cast<size_t>(rank));
    H5Sget_simple_extent_dims(space, extents.data(), nullptr);
    require_plain_storage(array, path, static_cast<uint64_t>(points));
    arrays.take(static_cast<uint64_t>(points) * sizeof(float), path);
    std::vector<float> values(static_cast<size_t>(points));
    if (points > 0)
      require(H5Dread(array, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
              path + " can't be read");
    write_number(Message::array);
    write_text(path);
    write_number(static_cast<uint8_t>(rank));
    for (const hsize_t extent : extents) write_number(static_cast<int64_t>(extent));
    write_all(values.data(), values.size() * sizeof(float));
  }

  // Elements lie in this file, and as many as the array claims to have.
  void require_plain_storage(hid_t array, const std::string& path, uint64_t points) const {
    const Handle how(H5Dget_create_plist(array), H5Pclose, path + " can't be read");
    if (H5Pget_layout(how) == H5D_VIRTUAL || H5Pget_external_count(how) > 0)
      refuse(path + ": its elements lie in other files; write the model anew with Keras");
    const int filters = H5Pget_nfilters(how);
    for (int i = 0; i < filters; i++) {
      unsigned flags = 0, config = 0;
      size_t count = 0;
      char name[64] = "";
      const H5Z_filter_t filter = H5Pget_filter2(how, static_cast<unsigned>(i), &flags, &count,
                                                 nullptr, sizeof name, name, &config);
      if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
          filter != H5Z_FILTER_FLETCHER32)
        refuse(path + ": compressed by filter " + std::to_string(filter) + " ('" + name +
               "'), which is not read; write the model anew with Keras");
    }
    const uint64_t stored = H5Dget_storage_size(array);
    if (stored > file_bytes_) refuse(path + " claims more bytes than the file has");
    // Deflate makes at most 1032 bytes of one.
    const uint64_t most = filters > 0 ? stored * 1032 : stored;
    if (points > most) refuse(path + " claims more elements than are stored");
  }

  hid_t file_;
  uint64_t file_bytes_;
  int64_t objects_ = 0;
};

// ---- .keras archives

class Archive {
 public:
  explicit Archive(const char* path) {
    int code = 0;
    zip_ = zip_open(path, ZIP_RDONLY, &code);
    if (!zip_) {
      zip_error_t error;
      zip_error_init_with_code(&error, code);
      const std::string text = zip_error_strerror(&error);
      zip_error_fini(&error);
      refuse("the archive can't be read (" + text + ")");
    }
  }
  ~Archive() { zip_discard(zip_); }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  // The file of exactly this name, of no more than `most` bytes.
  std::string contents(const char* name, uint64_t most) {
    const std::string where = std::string("'") + name + "' of the archive";
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat(zip_, name, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE))
      refuse(where +
             " is missing: a Keras file has config.json, metadata.json and "
             "model.weights.h5");
    // Deflate makes at most 1032 bytes of one.
    if (stat.size > most || !(stat.valid & ZIP_STAT_COMP_SIZE) || stat.size / 1032 > stat.comp_size)
      refuse(where + " claims to be larger than is read");
    zip_file_t* file = zip_fopen(zip_, name, 0);
    if (!file) refuse(where + " can't be read (" + zip_strerror(zip_) + ")");
    std::string bytes(stat.size, '\0');
    size_t have = 0;
    zip_int64_t got = 0;
    while (have < bytes.size() && (got = zip_fread(file, &bytes[have], bytes.size() - have)) > 0)
      have += static_cast<size_t>(got);
    char more = 0;
    // At the end its checksum is compared.
    const bool whole = have == bytes.size() && zip_fread(file, &more, 1) == 0;
    zip_fclose(file);
    if (!whole) refuse(where + " is damaged");
    return bytes;
  }

 private:
  zip_t* zip_ = nullptr;
};

// ---- the whole

hid_t access_list() {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  return access;
}

void read_file(const char* path, uint64_t bytes) {
  const Handle access(access_list(), H5Pclose, "no memory");
  const Handle file(H5Fopen(path, H5F_ACC_RDONLY, access), H5Fclose,
                    "it is not an HDF5 file, or it is damaged");
  Reader(file, bytes).read();
}

void read_archive(const char* path) {
  Archive archive(path);
  for (const char* name : {"config.json", "metadata.json"}) {
    const std::string text = archive.contents(name, max_text_bytes);
    texts.take(text.size(), name);
    write_number(Message::text_file);
    write_text(name);
    write_text(text);
  }
  std::string weights = archive.contents("model.weights.h5", max_expanded_bytes);
  const Handle access(access_list(), H5Pclose, "no memory");
  // In memory: nothing is unpacked to a disk.
  require(H5Pset_fapl_core(access, 1 << 16, false) >= 0 &&
              H5Pset_file_image(access, weights.data(), weights.size()) >= 0,
          "no memory");
  const Handle file(H5Fopen("model.weights.h5", H5F_ACC_RDONLY, access), H5Fclose,
                    "its model.weights.h5 is not an HDF5 file, or it is damaged");
  Reader(file, weights.size()).read();
}

bool is_archive(const char* path) {
  char mark[4] = "";
  FILE* file = std::fopen(path, "rb");
  if (!file) refuse(std::string("it can't be read (") + std::strerror(errno) + ")");
  const bool zip = std::fread(mark, 1, 4, file) == 4 && std::memcmp(mark, "PK\3\4", 4) == 0;
  std::fclose(file);
  return zip;
}

void limit(decltype(RLIMIT_CPU) what, rlim_t most) {
  const rlimit limits{most, most + (what == RLIMIT_CPU ? 5 : 0)};  // SIGXCPU comes before SIGKILL
  ::setrlimit(what, &limits);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  limit(RLIMIT_CORE, 0);
  ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);  // some network file systems have no locks
  H5dont_atexit();
  H5open();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);  // no code of others
  try {
    const uint64_t bytes = std::filesystem::file_size(argv[1]);
    // The library spends minutes on some damaged files; on others a second for 100 MB.
    limit(RLIMIT_CPU, 10 + bytes / 10'000'000);
    // On others it asks for as much memory as there is. Sanitizers reserve terabytes themselves.
#if !defined(FULMAR_SANITIZED)
    limit(RLIMIT_AS, std::min<uint64_t>(uint64_t{1} << 34, (uint64_t{1} << 30) + 8 * bytes));
#endif
    if (is_archive(argv[1]))
      read_archive(argv[1]);
    else
      read_file(argv[1], bytes);
    write_number(Message::end);
  } catch (const std::exception& error) {
    write_number(Message::error);
    write_text(error.what());
  }
  ::_exit(0);  // the library's own clean-up can crash on damaged files
}
