#include "kernels/counted/request.h"

#include <algorithm>
#include <bit>

namespace fulmar::counted {
namespace {

constexpr unsigned lanes = 32, banks = 32, word = 4;

bool takes_part(const Request& request, unsigned lane) { return request.lanes >> lane & 1; }

}  // namespace

uint64_t Sectors::used_bytes() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += static_cast<uint64_t>(std::popcount(list[i].bytes));
  return sum;
}

Sectors sectors_of(const Request& request) {
  Sectors all;
  for (unsigned lane = 0; lane < lanes; lane++) {
    if (!takes_part(request, lane)) continue;
    uint64_t at = request.address[lane];
    for (unsigned left = request.bytes; left > 0;) {
      const uint64_t number = at / sector_bytes, first = at % sector_bytes;
      const auto here = static_cast<unsigned>(std::min<uint64_t>(left, sector_bytes - first));
      const auto bytes = static_cast<uint32_t>(((uint64_t{1} << here) - 1) << first);
      if (all.count > 0 && all.list[all.count - 1].number == number)
        all.list[all.count - 1].bytes |= bytes;
      else
        all.list[all.count++] = {number, bytes};
      at += here;
      left -= here;
    }
  }
  const auto begin = all.list.begin(), end = begin + static_cast<ptrdiff_t>(all.count);
  std::sort(begin, end, [](const auto& a, const auto& b) { return a.number < b.number; });
  size_t kept = 0;
  for (size_t i = 0; i < all.count; i++)
    if (kept > 0 && all.list[kept - 1].number == all.list[i].number)
      all.list[kept - 1].bytes |= all.list[i].bytes;
    else
      all.list[kept++] = all.list[i];
  all.count = kept;
  return all;
}

void add_shared(const Request& request, Shared& shared) {
  shared.requests++;
  const unsigned phases = request.bytes > 8 ? 4 : request.bytes > 4 ? 2 : 1;
  const unsigned together = lanes / phases;
  for (unsigned phase = 0; phase < phases; phase++) {
    std::array<uint64_t, lanes * 4> words;
    size_t count = 0;
    for (unsigned lane = phase * together; lane < (phase + 1) * together; lane++)
      if (takes_part(request, lane))
        for (uint64_t at = request.address[lane] / word;
             at <= (request.address[lane] + request.bytes - 1) / word && count < words.size(); at++)
          words[count++] = at;
    if (count == 0) continue;
    // Lanes that want one word get it together.
    std::sort(words.begin(), words.begin() + static_cast<ptrdiff_t>(count));
    std::array<uint8_t, banks> of_bank{};
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++)
      if (i == 0 || words[i] != words[i - 1])
        most = std::max<uint64_t>(most, ++of_bank[words[i] % banks]);
    shared.phases++;
    shared.wavefronts += most;
    shared.worst = std::max(shared.worst, most);
  }
}

uint64_t atomic_rounds(const Request& request) {
  std::array<uint64_t, lanes> addresses;
  size_t count = 0;
  for (unsigned lane = 0; lane < lanes; lane++)
    if (takes_part(request, lane)) addresses[count++] = request.address[lane];
  const auto end = addresses.begin() + static_cast<ptrdiff_t>(count);
  std::sort(addresses.begin(), end);
  uint64_t most = 0;
  for (auto at = addresses.begin(); at != end;) {
    const auto next = std::upper_bound(at, end, *at);
    most = std::max(most, static_cast<uint64_t>(next - at));
    at = next;
  }
  return most;
}

}  // namespace fulmar::counted
