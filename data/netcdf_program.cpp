// fulmar-netcdf: reads windows of NetCDF-4 files and writes such files, as netcdf_messages.h has
// it, for the program at the other end of its standard input, until that closes. A program of its
// own because the HDF5 library below netcdf-c crashes on some damaged files (see
// tools/keras/read_hdf5.cpp) and has one lock for all threads, and because both bring 40 shared
// libraries that take longer to load than fulmar does. Each thread that reads has one of these.
#include <fcntl.h>
#include <netcdf.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <list>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "data/netcdf_messages.h"

namespace {

using namespace fulmar::data;
using Json = nlohmann::ordered_json;

// Chunks are kept by variable and file: some rows of them, of few scenes.
constexpr size_t most_open_files = 4, chunk_cache_bytes = 8 << 20;
constexpr size_t most_rank = 8;
constexpr unsigned longest_answer_s = 150;  // whoever asked has given up by then

void require(int status, const std::string& what) {
  if (status != NC_NOERR)
    throw std::runtime_error(what + " (the NetCDF library: " + nc_strerror(status) + ")");
}

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what); }

size_t element_bytes(const std::string& type) {
  if (type == "u8") return 1;
  if (type == "f32") return 4;
  if (type == "f64") return 8;
  refuse("no type '" + type + "'");
}

// ---- reading

struct Variable {
  int id = 0;
  std::vector<size_t> shape;
};

// A file that stays open as long as it is the same on disk.
struct OpenFile {
  std::string path;
  struct stat seen {};
  int id = -1;
  Json described;
};
std::list<OpenFile> open_files;  // the latest first

Variable variable_of(int file, const std::string& name) {
  Variable variable;
  require(nc_inq_varid(file, name.c_str(), &variable.id), "variable " + name);
  int rank = 0;
  require(nc_inq_varndims(file, variable.id, &rank), name);
  if (rank < 0 || static_cast<size_t>(rank) > most_rank) refuse(name + ": too many dimensions");
  std::vector<int> dimensions(static_cast<size_t>(rank));
  require(nc_inq_vardimid(file, variable.id, dimensions.data()), name);
  for (const int dimension : dimensions) {
    size_t extent = 0;
    require(nc_inq_dimlen(file, dimension, &extent), name);
    variable.shape.push_back(extent);
  }
  return variable;
}

Json describe(int file) {
  int count = 0, attributes = 0;
  require(nc_inq_nvars(file, &count), "its variables can't be read");
  require(nc_inq_natts(file, &attributes), "its attributes can't be read");
  Json all{{"variables", Json::object()}, {"attributes", Json::object()}};
  for (int i = 0; i < count; i++) {
    char name[NC_MAX_NAME + 1] = {};
    require(nc_inq_varname(file, i, name), "its variables can't be read");
    all["variables"][name] = variable_of(file, name).shape;
  }
  for (int i = 0; i < attributes; i++) {
    char name[NC_MAX_NAME + 1] = {};
    require(nc_inq_attname(file, NC_GLOBAL, i, name), "its attributes can't be read");
    nc_type type = 0;
    size_t length = 0;
    require(nc_inq_att(file, NC_GLOBAL, name, &type, &length), name);
    if (type != NC_CHAR || length > (1 << 20)) continue;
    std::string text(length, '\0');
    require(nc_get_att_text(file, NC_GLOBAL, name, text.data()), name);
    all["attributes"][name] = text;
  }
  return all;
}

bool is_same(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

OpenFile& opened(const std::string& path) {
  struct stat now {};
  if (::stat(path.c_str(), &now) != 0) refuse("no such file");
  for (auto at = open_files.begin(); at != open_files.end(); ++at) {
    if (at->path != path) continue;
    open_files.splice(open_files.begin(), open_files, at);
    if (is_same(open_files.front().seen, now)) return open_files.front();
    nc_close(open_files.front().id);
    open_files.pop_front();
    break;
  }
  if (open_files.size() >= most_open_files) {
    nc_close(open_files.back().id);
    open_files.pop_back();
  }
  OpenFile file{path, now, -1, {}};
  require(nc_open(path.c_str(), NC_NOWRITE, &file.id), "it is no NetCDF file, or a damaged one");
  try {
    file.described = describe(file.id);
  } catch (...) {
    nc_close(file.id);
    throw;
  }
  open_files.push_front(std::move(file));
  return open_files.front();
}

void read_part(int file, const Json& part, std::vector<uint8_t>& data) {
  const std::string name = part.at("name"), type = part.at("as");
  const auto start = part.at("start").get<std::vector<size_t>>();
  const auto count = part.at("count").get<std::vector<size_t>>();
  const Variable variable = variable_of(file, name);
  if (start.size() != variable.shape.size() || count.size() != start.size())
    refuse(name + ": it has " + std::to_string(variable.shape.size()) + " dimensions, not " +
           std::to_string(start.size()));
  size_t elements = 1;
  for (size_t i = 0; i < start.size(); i++) {
    if (count[i] > variable.shape[i] || start[i] > variable.shape[i] - count[i])
      refuse(name + ": it has no such part");
    elements *= count[i];
  }
  const size_t bytes = elements * element_bytes(type), before = data.size();
  if (bytes > most_message_data - before) refuse(name + ": more than is read at once (4 GiB)");
  data.resize(before + bytes);
  uint8_t* to = data.data() + before;
  const int status =
      type == "u8"    ? nc_get_vara_uchar(file, variable.id, start.data(), count.data(), to)
      : type == "f32" ? nc_get_vara_float(file, variable.id, start.data(), count.data(),
                                          reinterpret_cast<float*>(to))
                      : nc_get_vara_double(file, variable.id, start.data(), count.data(),
                                           reinterpret_cast<double*>(to));
  require(status, "variable " + name + " can't be read");
}

// ---- writing

void put_attributes(int file, int variable, const Json& attributes) {
  for (const auto& [name, value] : attributes.items()) {
    if (value.is_string()) {
      const auto text = value.get<std::string>();
      require(nc_put_att_text(file, variable, name.c_str(), text.size(), text.data()), name);
    } else {
      const auto number = value.get<double>();
      require(nc_put_att_double(file, variable, name.c_str(), NC_DOUBLE, 1, &number), name);
    }
  }
}

// The variables' numbers, with their types.
std::vector<std::pair<int, std::string>> define(int file, const Json& request) {
  std::vector<std::pair<std::string, int>> dimensions;
  for (const Json& dimension : request.at("dimensions")) {
    const auto name = dimension.at(0).get<std::string>();
    int id = 0;
    require(nc_def_dim(file, name.c_str(), dimension.at(1).get<size_t>(), &id), name);
    dimensions.emplace_back(name, id);
  }
  put_attributes(file, NC_GLOBAL, request.at("attributes"));
  std::vector<std::pair<int, std::string>> ids;
  for (const Json& variable : request.at("variables")) {
    const std::string name = variable.at("name"), type = variable.at("type");
    std::vector<int> of_variable;
    for (const Json& dimension : variable.at("dimensions"))
      for (const auto& [known, id] : dimensions)
        if (known == dimension.get<std::string>()) of_variable.push_back(id);
    const nc_type kind = type == "u8" ? NC_UBYTE : type == "f32" ? NC_FLOAT : NC_DOUBLE;
    int id = 0;
    require(nc_def_var(file, name.c_str(), kind, static_cast<int>(of_variable.size()),
                       of_variable.data(), &id),
            name);
    const auto chunks = variable.at("chunks").get<std::vector<size_t>>();
    if (!chunks.empty()) {
      require(nc_def_var_chunking(file, id, NC_CHUNKED, chunks.data()), name);
      require(nc_def_var_deflate(file, id, 1, 1, 1), name);
    }
    put_attributes(file, id, variable.at("attributes"));
    ids.emplace_back(id, type);
  }
  require(nc_enddef(file), "it can't be written");
  return ids;
}

void write_arrays(int file, const Json& request, const std::vector<uint8_t>& data) {
  const auto ids = define(file, request);
  size_t at = 0, i = 0;
  for (const Json& variable : request.at("variables")) {
    const std::string name = variable.at("name");
    const auto [id, type] = ids[i++];
    size_t elements = 1;
    for (const size_t extent : variable_of(file, name).shape) elements *= extent;
    const size_t bytes = elements * element_bytes(type);
    if (bytes > data.size() - at) refuse(name + ": too few data");
    const uint8_t* from = data.data() + at;
    require(type == "u8"    ? nc_put_var_uchar(file, id, from)
            : type == "f32" ? nc_put_var_float(file, id, reinterpret_cast<const float*>(from))
                            : nc_put_var_double(file, id, reinterpret_cast<const double*>(from)),
            name + " can't be written");
    at += bytes;
  }
}

void write_file(const Json& request, const std::vector<uint8_t>& data) {
  const std::string path = request.at("path");
  int file = 0;
  require(nc_create(path.c_str(), NC_NETCDF4 | NC_CLOBBER, &file), "it can't be made");
  try {
    write_arrays(file, request, data);
  } catch (...) {
    nc_close(file);
    throw;
  }
  require(nc_close(file), "it can't be written");
  const int written = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool kept = written >= 0 && ::fsync(written) == 0;
  if (written >= 0) ::close(written);
  if (!kept) refuse("it can't be written");
}

// ---- serving

Message answer(const Message& asked) {
  Message reply;
  const Json request = Json::parse(asked.text);
  const std::string what = request.at("do");
  if (what == "describe") {
    reply.text =
        opened(request.at("path")).described.dump(-1, ' ', true, Json::error_handler_t::replace);
  } else if (what == "read") {
    const OpenFile& file = opened(request.at("path"));
    for (const Json& part : request.at("parts")) read_part(file.id, part, reply.data);
    reply.text = "{}";
  } else {
    write_file(request, asked.data);
    reply.text = "{}";
  }
  return reply;
}

}  // namespace

int main(int argc, char**) {
  if (argc != 1) return 2;
  std::signal(SIGINT, SIG_IGN);  // Ctrl-C reaches both, and the program decides
  std::signal(SIGTERM, SIG_IGN);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
#if !defined(FULMAR_SANITIZED)  // which reserve terabytes themselves
  const rlimit memory{rlim_t{1} << 34, rlim_t{1} << 34};
  ::setrlimit(RLIMIT_AS, &memory);
#endif
  ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);    // some network file systems have no locks
  ::setenv("HDF5_PLUGIN_PATH", "/nonexistent", 1);  // no code of others
  nc_set_chunk_cache(chunk_cache_bytes, 1009, 0.75F);
  Message asked;
  while (receive_message(STDIN_FILENO, asked)) {
    Message reply;
    ::alarm(longest_answer_s);
    try {
      reply = answer(asked);
    } catch (const std::exception& error) {
      reply = {Json{{"error", error.what()}}.dump(-1, ' ', true, Json::error_handler_t::replace),
               {}};
    }
    ::alarm(0);
    if (!send_message(STDIN_FILENO, reply)) return 1;
  }
  return 0;
}
