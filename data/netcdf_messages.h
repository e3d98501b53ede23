#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

// What the program and fulmar-netcdf say to each other over a socket: a message is two numbers of
// bytes, a JSON text and data.
//   {"do":"describe","path":P}                    -> {"variables":{NAME:SHAPE},"attributes":{}}
//   {"do":"read","path":P,"parts":[{"name","start","count","as":"u8|f32|f64"}]} -> {} and the data
//   {"do":"write","path":P,"dimensions":[[NAME,N]],"attributes":{},
//    "variables":[{"name","type","dimensions":[NAME],"chunks":[N],"attributes":{}}]} and the data
//                                                 -> {}
// or {"error":TEXT}. Arrays lie one behind the other, in the order in which they are named.
namespace fulmar::data {

constexpr uint64_t most_message_text = 16 << 20;
constexpr uint64_t most_message_data = uint64_t{4} << 30;

struct Message {
  std::string text;
  std::vector<uint8_t> data;
};

inline bool send_bytes(int socket, const void* from, size_t bytes) {
  const auto* at = static_cast<const char*>(from);
  while (bytes > 0) {
    const ssize_t sent = ::send(socket, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    bytes -= static_cast<size_t>(sent);
  }
  return true;
}

inline bool receive_bytes(int socket, void* to, size_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = ::recv(socket, at, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

// False where the other side is gone (or, of a socket with a time limit, is silent).
inline bool send_message(int socket, const Message& message) {
  const uint64_t bytes[2] = {message.text.size(), message.data.size()};
  return send_bytes(socket, bytes, sizeof bytes) &&
         send_bytes(socket, message.text.data(), message.text.size()) &&
         send_bytes(socket, message.data.data(), message.data.size());
}
inline bool receive_message(int socket, Message& message) {
  uint64_t bytes[2] = {};
  if (!receive_bytes(socket, bytes, sizeof bytes) || bytes[0] > most_message_text ||
      bytes[1] > most_message_data)
    return false;
  message.text.resize(bytes[0]);
  message.data.resize(bytes[1]);
  return receive_bytes(socket, message.text.data(), message.text.size()) &&
         receive_bytes(socket, message.data.data(), message.data.size());
}

}  // namespace fulmar::data
