#include "data/netcdf.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <system_error>

#include "data/helper_program.h"
#include "data/netcdf_messages.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr HelperProgram helper{"fulmar-netcdf", "FULMAR_NETCDF_PROGRAM", "NetCDF files",
                               "netcdf-c is found (package libnetcdf-dev"};
constexpr int longest_silence_s = 120;

std::array<int, 2> new_sockets() {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    file_error("no socket could be made");
  const timeval silence{longest_silence_s, 0};
  ::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
  return ends;
}

// A running fulmar-netcdf.
class Child {
 public:
  explicit Child(const std::string& program) : running_(program, {}, new_sockets(), STDIN_FILENO) {}

  enum class Answer { given, none, silence };  // none: it ended
  Answer ask(const Message& asked, Message& reply) const {
    errno = 0;
    if (send_message(running_.end(), asked) && receive_message(running_.end(), reply))
      return Answer::given;
    return errno == EAGAIN || errno == EWOULDBLOCK ? Answer::silence : Answer::none;
  }

 private:
  RunningHelper running_;
};

// Those that nobody asks just now.
class IdleChildren {
 public:
  std::unique_ptr<Child> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Child> child = std::move(idle_.back());
        idle_.pop_back();
        return child;
      }
    }
    return std::make_unique<Child>(find_program(helper));
  }
  void give_back(std::unique_ptr<Child> child) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(child));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Child>> idle_;
};

IdleChildren& idle_children() {
  static IdleChildren children;
  return children;
}

// The answer to a request, `data` behind it.
Json ask(const std::string& path, const Json& request, std::vector<uint8_t>& data) {
  Message asked{request.dump(-1, ' ', true, Json::error_handler_t::replace), std::move(data)};
  Message reply;
  // A process may have ended for a reason of its own, as one that waited for long: a second one
  // that ends too does so because of the file.
  std::unique_ptr<Child> child = idle_children().take();
  Child::Answer answered = child->ask(asked, reply);
  if (answered == Child::Answer::none) {
    child = std::make_unique<Child>(find_program(helper));
    answered = child->ask(asked, reply);
  }
  const std::string doing = request.at("do") == "write" ? "writing" : "reading";
  if (answered == Child::Answer::silence)
    file_error(path + ": " + doing + " it took more than " + std::to_string(longest_silence_s) +
               " s: the disk is slow, or the NetCDF library hangs on a damaged file");
  if (answered == Child::Answer::none)
    file_error(path + ": the NetCDF library crashed twice while " + doing + " it" +
               (doing == "reading" ? ": the file is damaged; fetch it again, or remove it"
                                   : ", or memory is short"));
  idle_children().give_back(std::move(child));
  data = std::move(reply.data);
  Json answer = Json::parse(reply.text, nullptr, false);
  if (answer.is_object() && answer.contains("error"))
    file_error(path + ": " + answer.at("error").get<std::string>());
  return answer;
}

// The process has no folder of its own to start from, but the same one.
void require_file(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) file_error(path + ": no such file");
  if (!fs::is_regular_file(path, error)) file_error(path + ": it is no file");
}

}  // namespace

NetcdfFile describe_netcdf(const std::string& path) {
  require_file(path);
  std::vector<uint8_t> none;
  const Json answer = ask(path, {{"do", "describe"}, {"path", path}}, none);
  NetcdfFile file;
  for (const auto& [name, shape] : answer.at("variables").items())
    file.variables[name] = shape.get<std::vector<int64_t>>();
  for (const auto& [name, text] : answer.at("attributes").items())
    file.attributes[name] = text.get<std::string>();
  return file;
}

std::vector<uint8_t> read_netcdf(const std::string& path, const std::vector<NetcdfPart>& parts) {
  require_file(path);
  Json list = Json::array();
  size_t bytes = 0;
  for (const NetcdfPart& part : parts) {
    size_t elements = 1;
    for (const int64_t count : part.count) elements *= static_cast<size_t>(count);
    bytes += elements * size_of(part.type);
    list.push_back({{"name", part.variable},
                    {"start", part.start},
                    {"count", part.count},
                    {"as", name_of(part.type)}});
  }
  std::vector<uint8_t> data;
  ask(path, {{"do", "read"}, {"path", path}, {"parts", list}}, data);
  if (data.size() != bytes) file_error(path + ": the NetCDF library gave too few data");
  return data;
}

void write_netcdf(const std::string& path,
                  const std::vector<std::pair<std::string, int64_t>>& dimensions,
                  const std::map<std::string, std::string>& attributes,
                  const std::vector<NetcdfArray>& arrays) {
  const std::string beside = path + ".part";
  Json request{{"do", "write"}, {"path", beside}};
  request["dimensions"] = dimensions;
  request["attributes"] = attributes;
  request["variables"] = Json::array();
  std::vector<uint8_t> data;
  for (const NetcdfArray& array : arrays) {
    Json own = Json::object();
    for (const auto& [name, text] : array.texts) own[name] = text;
    for (const auto& [name, number] : array.numbers) own[name] = number;
    request["variables"].push_back({{"name", array.name},
                                    {"type", name_of(array.type)},
                                    {"dimensions", array.dimensions},
                                    {"chunks", array.chunks},
                                    {"attributes", own}});
    data.insert(data.end(), array.data.begin(), array.data.end());
  }
  std::error_code error;
  try {
    ask(path, request, data);
  } catch (...) {
    fs::remove(beside, error);
    throw;
  }
  fs::rename(beside, path, error);
  if (error) file_error(path + ": can't be written: " + error.message());
}

}  // namespace fulmar::data
