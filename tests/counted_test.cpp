#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/counted/counter.h"
#include "kernels/counted/instruction.h"
#include "kernels/counted/machine_code.h"
#include "kernels/simt/order.h"
#include "tests/counted_kernels.h"
#include "tests/support/simt_orders.h"

namespace fulmar::test {
namespace {

using counted::Launch;

// An array in the device's memory, at the start of a line of 128 bytes.
template <class T>
class Array {
 public:
  Array(counted::GlobalMemory& memory, size_t count) : memory_(memory), room_(count + 128) {
    auto at = reinterpret_cast<uintptr_t>(room_.data());
    first_ = reinterpret_cast<T*>((at + 127) / 128 * 128);
    memory_.add(first_, count * sizeof(T));
  }
  ~Array() { memory_.remove(first_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* get() { return first_; }

 private:
  counted::GlobalMemory& memory_;
  std::vector<T> room_;
  T* first_;
};

// What launches in body(memory) did.
struct Counted {
  counted::GlobalMemory memory;
  counted::Machine machine;

  template <class Body>
  Launch of(const Body& body) {
    counted::Counter counter(memory, machine);
    {
      const simt::UseObserver use(&counter);
      body();
    }
    const std::vector<Launch> launches = counter.take();
    REQUIRE(launches.size() == 1);
    return launches[0];
  }
};

}  // namespace

TEST_CASE("counted: a copy asks for four sectors a warp and uses all of their bytes") {
  in_every_order([] {
    Counted counted;
    Array<float> x(counted.memory, 4096), y(counted.memory, 4096);
    const Launch l = counted.of([&] { counted_kernels::copy(x.get(), y.get(), 4096); });
    CHECK(l.name == "copy");
    CHECK(l.blocks() == 32);
    CHECK(l.threads() == 128);
    for (const counted::Traffic& t : {l.loads, l.stores}) {
      CHECK(t.requests == 128);
      CHECK(t.sectors == 512);
      CHECK(t.sectors_a_request() == 4);
      CHECK(t.used_bytes == 16384);
      CHECK(t.used_share() == 1);
      CHECK(t.unique_sectors == 512);
    }
    CHECK(l.caches.l1_hits == 0);
    CHECK(l.caches.l2_sectors == 1024);
    CHECK(l.caches.read == 512);
    CHECK(l.shared.requests == 0);
    CHECK(l.barriers == 0);
    CHECK(l.idle_share() == 0);
  });
}

TEST_CASE("counted: the last warp of an odd count asks for less") {
  Counted counted;
  Array<float> x(counted.memory, 4096), y(counted.memory, 4096);
  const Launch l = counted.of([&] { counted_kernels::copy(x.get(), y.get(), 101); });
  CHECK(l.loads.requests == 4);
  CHECK(l.loads.sectors == 13);
  CHECK(l.loads.used_bytes == 404);
  CHECK(l.stores.used_bytes == 404);
}

TEST_CASE("counted: a stride wastes what lies between") {
  Counted counted;
  Array<float> x(counted.memory, 32768), y(counted.memory, 4096);
  for (const int stride : {1, 2, 3, 4, 8}) {
    CAPTURE(stride);
    const Launch l = counted.of([&] { counted_kernels::copy(x.get(), y.get(), 4096, stride); });
    CHECK(l.loads.requests == 128);
    CHECK(l.loads.sectors == static_cast<uint64_t>(128 * 4 * stride));
    CHECK(l.loads.used_bytes == 16384);
    CHECK(l.stores.sectors == 512);
  }
}

TEST_CASE("counted: a copy from an odd place touches one sector more a warp, and L1 has it") {
  Counted counted;
  Array<float> x(counted.memory, 4160), y(counted.memory, 4096);
  const Launch l = counted.of([&] { counted_kernels::copy(x.get(), y.get(), 4096, 1, 1); });
  CHECK(l.loads.requests == 128);
  CHECK(l.loads.sectors == 128 * 5);
  CHECK(l.loads.used_bytes == 16384);
  CHECK(l.loads.unique_sectors == 513);
  CHECK(l.caches.l1_hits == 32 * 3);  // within a block of four warps
  CHECK(l.caches.read == 513);        // between blocks L2 has it
}

TEST_CASE("counted: 16 bytes a thread are one access") {
  in_every_order([] {
    Counted counted;
    Array<float> x(counted.memory, 4096), y(counted.memory, 4096);
    const Launch l = counted.of([&] { counted_kernels::copy_by_16(x.get(), y.get(), 4096); });
    for (const counted::Traffic& t : {l.loads, l.stores}) {
      CHECK(t.requests == 32);
      CHECK(t.sectors == 512);
      CHECK(t.sectors_a_request() == 16);
      CHECK(t.used_bytes == 16384);
    }
  });
}

TEST_CASE("counted: bytes") {
  Counted counted;
  Array<unsigned char> x(counted.memory, 4096), y(counted.memory, 4096);
  const Launch l = counted.of([&] { counted_kernels::copy_bytes(x.get(), y.get(), 4096); });
  CHECK(l.loads.requests == 128);
  CHECK(l.loads.sectors == 128);
  CHECK(l.loads.used_bytes == 4096);
}

TEST_CASE("counted: a transposition without padding has 32-way conflicts, with it none") {
  in_every_order([] {
    Counted counted;
    Array<float> x(counted.memory, 4096), y(counted.memory, 4096);
    for (const bool padded : {false, true}) {
      CAPTURE(padded);
      const Launch l =
          counted.of([&] { counted_kernels::transpose(x.get(), y.get(), 64, padded); });
      CHECK(l.loads.requests == 128);
      CHECK(l.loads.sectors == 512);
      CHECK(l.stores.sectors == 512);
      CHECK(l.shared.requests == 256);
      CHECK(l.shared.phases == 256);
      CHECK(l.shared.wavefronts == (padded ? 256 : 128 + 128 * 32));
      CHECK(l.shared.worst == (padded ? 1 : 32));
      CHECK(l.static_shared == (padded ? 4224 : 4096));
      CHECK(l.barriers == 4);
    }
  });
}

TEST_CASE("counted: 16 bytes of shared memory a lane take four phases") {
  Counted counted;
  Array<float> y(counted.memory, 32);
  const auto of = [&](int stride) {
    return counted.of([&] { counted_kernels::shared_by_16(y.get(), stride); });
  };
  Launch l = of(4);
  CHECK(l.shared.requests == 2);
  CHECK(l.shared.phases == 8);
  CHECK(l.shared.wavefronts == 8);
  CHECK(l.dynamic_shared == 528);
  CHECK(l.static_shared == 0);
  l = of(8);  // lanes four apart meet in a bank
  CHECK(l.shared.wavefronts == 16);
  CHECK(l.shared.worst == 2);
  CHECK(of(32).shared.worst == 8);
  CHECK(of(0).shared.wavefronts == 8);  // one word for all is no conflict
  CHECK(of(36).shared.worst == 1);
}

TEST_CASE("counted: a reduction's loads, shuffles, barriers and partial sums") {
  in_every_order([] {
    Counted counted;
    Array<float> x(counted.memory, 1024), out(counted.memory, 4);
    const Launch l = counted.of([&] { counted_kernels::sum(x.get(), out.get(), 1024, 4); });
    CHECK(l.loads.requests == 32);
    CHECK(l.loads.sectors == 128);
    CHECK(l.loads.unique_sectors == 128);
    CHECK(l.stores.requests == 4);
    CHECK(l.stores.sectors == 4);
    CHECK(l.stores.used_bytes == 16);
    CHECK(l.stores.unique_sectors == 1);
    CHECK(l.warp_operations == 4 * 2 * 5);
    CHECK(l.barriers == 4);
    CHECK(l.shared.requests == 4 * (2 + 2));
    CHECK(l.shared.wavefronts == l.shared.phases);
    CHECK(l.lanes.fp32 >= 1024 + 4 * 64 * 5 + 4 * 2);
  });
}

TEST_CASE("counted: lanes that leave a loop earlier are idle in it") {
  Counted counted;
  Array<float> y(counted.memory, 1024);
  const Launch l = counted.of([&] { counted_kernels::triangle(y.get()); });
  CHECK(l.stores.requests == 31);
  CHECK(l.stores.used_bytes == 4 * 31 * 32 / 2);
  // Of the loop's 31 rounds of 32 places half are idle; what is around it runs in all lanes.
  CHECK(l.lane_slots - l.lane_runs >= 31 * 32 / 2);
  CHECK(l.idle_share() > 0.3);
  CHECK(l.idle_share() < 0.5);
}

TEST_CASE("counted: the two ways of a branch are run one after the other") {
  in_every_order([] {
    Counted counted;
    Array<float> y(counted.memory, 2048);
    const auto of = [&](int lanes) {
      return counted.of([&] { counted_kernels::branch(y.get(), lanes); });
    };
    const Launch whole = of(32), parted = of(8);
    CHECK(whole.stores.requests == 1);
    CHECK(whole.lane_slots == whole.lane_runs);
    CHECK(parted.stores.requests == 2);
    CHECK(parted.stores.used_bytes == 128);
    CHECK(parted.stores.sectors == 4);  // 8 lanes in one, 24 in three
    // For each piece of code that comes twice, as many places are idle as a warp has lanes.
    const uint64_t idle = parted.lane_slots - parted.lane_runs;
    CHECK(idle >= 32);
    CHECK(idle % 32 == 0);
    CHECK(parted.lane_runs == whole.lane_runs);
  });
}

TEST_CASE("counted: loops of different length meet again behind a warp operation") {
  Counted counted;
  Array<float> x(counted.memory, 128), y(counted.memory, 32);
  const Launch l = counted.of([&] { counted_kernels::rounds(x.get(), y.get()); });
  // Each of the two times: all lanes once, then the odd ones.
  CHECK(l.loads.requests == 4);
  CHECK(l.loads.used_bytes == 2 * (128 + 64));
  CHECK(l.loads.sectors == 16);
}

TEST_CASE("counted: arithmetic by kind") {
  REQUIRE(counted::MachineCode::own().missing() == "");
  Counted counted;
  Array<float> x(counted.memory, 32), y(counted.memory, 32);
  Array<double> y64(counted.memory, 32);
  Launch l = counted.of([&] { counted_kernels::fma_chain(y.get(), 100); });
  CHECK(l.lanes.fma32 == 3200);
  CHECK(l.warps.fma32 == 100);
  CHECK(l.lanes.flops32() == 6400);
  CHECK(l.lanes.flops64() == 0);
  l = counted.of([&] { counted_kernels::fma_chain64(y64.get(), 7); });
  CHECK(l.lanes.fma64 == 224);
  CHECK(l.lanes.flops64() == 448);
  CHECK(l.lanes.flops32() == 0);
  l = counted.of([&] { counted_kernels::roots(x.get(), y.get()); });
  CHECK(l.lanes.special == 64);
  CHECK(l.warps.special == 2);
  l = counted.of([&] { counted_kernels::exponentials(x.get(), y.get()); });
  CHECK(l.lanes.special == 32);
}

TEST_CASE("counted: atomics, and lanes that meet at an address") {
  Counted counted;
  Array<unsigned> counters(counted.memory, 64);
  for (const auto& [different, rounds] : {std::pair(64u, 2u), std::pair(1u, 64u), {4u, 16u}}) {
    const Launch l =
        counted.of([&, n = different] { counted_kernels::count_atomically(counters.get(), n); });
    CHECK(l.atomics == 64);
    CHECK(l.atomic_rounds == rounds);
    CHECK(l.stores.requests == 2);
  }
  CHECK(counters.get()[0] == 1 + 64 + 16);
}

TEST_CASE("counted: neighbours are read from memory once") {
  Counted counted;
  Array<float> x(counted.memory, 128), y(counted.memory, 128);
  const Launch l = counted.of([&] { counted_kernels::box(x.get(), y.get()); });
  CHECK(l.loads.requests == 12);
  CHECK(l.loads.unique_sectors == 16);
  CHECK(l.caches.read == 16);
  CHECK(l.caches.l1_hits == l.loads.sectors - 16);
}

TEST_CASE("counted: L2 of a stated size, from one launch to the next") {
  Counted counted;
  Array<float> x(counted.memory, 16384), y(counted.memory, 16384);  // 64 KiB each
  for (const auto& [kib, hits] : {std::pair(256, 2048u), std::pair(16, 0u)}) {
    counted.machine.l2_bytes = static_cast<uint64_t>(kib) << 10;
    counted::Counter counter(counted.memory, counted.machine);
    {
      const simt::UseObserver use(&counter);
      counted_kernels::copy(x.get(), y.get(), 16384);
      counted_kernels::copy(y.get(), x.get(), 16384);
    }
    const std::vector<Launch> launches = counter.take();
    CHECK(launches[0].caches.read == 2048);
    CHECK(launches[1].caches.l2_sectors == 4096);
    CHECK(launches[1].caches.read == 2048 - hits);
    const uint64_t written = launches[0].caches.written + launches[1].caches.written;
    if (hits > 0)
      CHECK(written == 0);
    else
      CHECK(written > 3500);
  }
}

TEST_CASE("counted: operations of tensor cores") {
  in_every_order([] {
    Counted counted;
    Array<bf16> a(counted.memory, 256), b(counted.memory, 128);
    Array<float> d(counted.memory, 128);
    Array<uint32_t> a_fragment(counted.memory, 128), b_fragment(counted.memory, 64);
    for (const int depth : {8, 16}) {
      CAPTURE(depth);
      const Launch l = counted.of([&] {
        counted_kernels::multiply_matrices(
            {a.get(), b.get(), d.get(), a_fragment.get(), b_fragment.get()}, depth);
      });
      const auto k = static_cast<uint64_t>(depth);
      CHECK(l.matrix_operations == 1);
      CHECK(l.matrix_multiply_adds == 16 * 8 * k);
      CHECK(l.warp_operations == 3);  // two of ldmatrix
      // Stores of what is copied there, 2 bytes a lane; ldmatrix takes 16 a lane, of 16 rows of 8
      // or of 32, then of as many rows as is deep.
      CHECK(l.shared.requests == 16 * k / 32 + 8 * k / 32 + 2);
      CHECK(l.shared.wavefronts == l.shared.phases);
      CHECK(l.lanes.fma32 == 0);  // what the emulator computes isn't counted
    }
  });
}

TEST_CASE("counted: a few blocks stand for all, what all of them read is read once") {
  in_every_order([] {
    Counted counted;
    counted.machine.most_run = 8;
    Array<float> x(counted.memory, 8192), y(counted.memory, 4096);
    const auto of = [&](int count, int stride, int offset) {
      return counted.of([&] { counted_kernels::copy(x.get(), y.get(), count, stride, offset); });
    };
    const Launch whole = of(4096, 1, 0);  // 32 blocks
    CHECK(whole.blocks() == 32);
    CHECK(whole.loads.requests == 128);
    CHECK(whole.loads.unique_sectors == 512);
    CHECK(whole.stores.unique_sectors == 512);
    CHECK(whole.caches.read == 512);
    CHECK(whole.caches.written == 512);
    CHECK(whole.lane_runs == whole.lane_slots);
    const Launch one = of(4096, 0, 5);
    CHECK(one.loads.sectors == 128);
    CHECK(one.loads.unique_sectors == 1);
    CHECK(one.stores.unique_sectors == 512);
    // Neighbours share a sector: four windows of two blocks see five of six more than their own.
    CHECK(of(4096, 1, 1).loads.unique_sectors == 512 + 4 * 4);
    CHECK(of(1000, 1, 0).loads.used_bytes == 4000);  // all 8 run
  });
}

TEST_CASE("counted: a rounding to bf16 is one instruction, of two as of one") {
  const counted::Operations one = counted::operations_of("call", "1c1 <fulmar_to_bf16@plt>"),
                            two = counted::operations_of("call", "1c1 <fulmar_to_bf16x2>");
  for (const counted::Operations& o : {one, two}) {
    CHECK(o.integer == 1);
    CHECK(o.all() == 1);
  }
  Counted counted;
  Array<float> x(counted.memory, 1024);
  Array<bf16> y(counted.memory, 1024);
  const Launch l = counted.of([&] { counted_kernels::round_by_8(x.get(), y.get(), 1024); });
  CHECK(l.stores.requests == 4);
  CHECK(l.stores.sectors == 64);
  for (int i = 0; i < 1024; i++) CHECK(y.get()[i].bits == to_bf16(x.get()[i]).bits);
  // 4 pairs a lane, and where it reads and writes.
  CHECK(l.warps.integer >= 4 * 4);
  CHECK(l.warps.integer <= 4 * (4 + 10));
}

TEST_CASE("counted: nothing is counted outside of launches, or without an observer") {
  Counted counted;
  Array<float> x(counted.memory, 128), y(counted.memory, 128);
  counted_kernels::copy(x.get(), y.get(), 128);
  const Launch l = counted.of([&] { counted_kernels::copy(x.get(), y.get(), 128); });
  CHECK(l.loads.requests == 4);
}

TEST_CASE("counted: the kernel's function is known by its name") {
  Counted counted;
  Array<float> y(counted.memory, 1024);
  const Launch l = counted.of([&] { counted_kernels::triangle(y.get()); });
  CHECK(l.symbol.find("triangle_kernel") != std::string::npos);
}

TEST_CASE("counted: an address with a constant costs nothing, as a GPU's accesses add it") {
  CHECK(counted::operations_of("lea", "0x8(%rax),%rbx").all() == 0);
  CHECK(counted::operations_of("lea", "0x8(%rax,%rcx,2),%rbx").integer == 1);
  CHECK(counted::operations_of("lea", "0x0(,%rax,8),%rbx").integer == 1);
  CHECK(counted::operations_of("call", "1c1 <_ZN6fulmar4simt13moved_at_onceEPKvm>").all() == 0);
  CHECK(counted::operations_of("call", "1c1 <_ZN6fulmar4cuda4someEv>").control == 1);
}

TEST_CASE("counted: a whole division is many instructions, of 64 bits more") {
  CHECK(counted::operations_of("idivl", "0x8(%rsp)").integer == 20);
  CHECK(counted::operations_of("idivq", "0x8(%rsp)").integer == 70);
  CHECK(counted::operations_of("div", "%r13d").integer == 20);
  CHECK(counted::operations_of("div", "%ecx").integer == 20);
  CHECK(counted::operations_of("idiv", "%r13").integer == 70);
  CHECK(counted::operations_of("idiv", "%rcx").integer == 70);
}

}  // namespace fulmar::test
