#include "state/sockets/packet_sockets.hpp"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/io.hpp"
#include "proc/text.hpp"
#include "state/sockets/sock_diag.hpp"

namespace ckpt::state {

namespace {

template <typename T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// "0100007F", or four such words: each is printed as the number that its bytes are in this machine.
template <std::size_t words>
std::array<std::uint32_t, words> words_of(std::string_view digits) {
  constexpr std::size_t kDigits = 8;
  std::array<std::uint32_t, words> values{};
  for (std::size_t i = 0; i < words && (i + 1) * kDigits <= digits.size(); ++i)
    values[i] =
        proc::parse_number<std::uint32_t>(digits.substr(i * kDigits, kDigits), 16).value_or(0);
  return values;
}

// getpeername(2) tells only of one with a port, which these have none of.
std::string peer_in_table(const proc::ProcessDir& process, const Socket& socket) {
  const bool six = socket.domain == AF_INET6;
  const std::string table =
      fmt::format("net/{}{}", socket.type == SOCK_RAW ? "raw" : "icmp", six ? "6" : "");
  const auto text = try_read_file(process.path(table));
  std::string_view rest = text ? std::string_view(*text) : "";
  proc::cut(rest, '\n');
  while (!rest.empty()) {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
    constexpr std::size_t kRemote = 2;
    constexpr std::size_t kInode = 9;
    std::string_view line = proc::cut(rest, '\n');
    std::array<std::string_view, kInode + 1> columns;
    for (auto& column : columns) column = proc::next_word(line);
    if (proc::parse_number<std::uint64_t>(columns[kInode]) != socket.id) continue;
    const auto digits = columns[kRemote].substr(0, columns[kRemote].find(':'));
    if (digits.find_first_not_of('0') == digits.npos) return "";
    if (six) {
      sockaddr_in6 peer{};
      peer.sin6_family = AF_INET6;
      const auto words = words_of<4>(digits);
      std::memcpy(&peer.sin6_addr, words.data(), sizeof peer.sin6_addr);
      return bytes_of(peer);
    }
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_addr.s_addr = words_of<1>(digits)[0];
    return bytes_of(peer);
  }
  return "";
}

sockaddr_ll link_address(const std::string& name) {
  sockaddr_ll address{};
  std::memcpy(&address, name.data(), std::min(name.size(), sizeof address));
  return address;
}

}  // namespace

void read_packet_socket(const proc::ProcessDir& process, Socket& socket) {
  if (socket.domain != AF_PACKET) {
    if (socket.peer_name.empty()) socket.peer_name = peer_in_table(process, socket);
    return;
  }
  const auto told = find_packet_socket(socket.id);
  if (socket.type == SOCK_PACKET) {
    // Its name is the interface's; its protocol is that of its beginning.
    if (told) socket.protocol = htons(told->protocol);
    if (socket.name.find_first_not_of('\0', sizeof(sa_family_t)) == socket.name.npos)
      socket.name.clear();
  } else if (const int index = link_address(socket.name).sll_ifindex; index != 0) {
    std::array<char, IF_NAMESIZE> name{};
    if (::if_indextoname(static_cast<unsigned>(index), name.data()) != nullptr)
      socket.interface = name.data();
  }
  if (!told) {
    socket.missing.emplace_back(
        "whether it is a member of groups (promiscuous) is not told by this kernel "
        "(CONFIG_PACKET_DIAG)");
    return;
  }
  // getsockopt(2) tells of it since Linux 6.8.
  if (told->copy_threshold != 0)
    socket.options.push_back({SOL_PACKET, PACKET_COPY_THRESH, bytes_of(told->copy_threshold)});
  for (const auto& membership : told->memberships) {
    packet_mreq wanted{};
    wanted.mr_ifindex = membership.interface;
    wanted.mr_type = membership.type;
    wanted.mr_alen =
        static_cast<unsigned short>(std::min(membership.address.size(), sizeof wanted.mr_address));
    std::memcpy(wanted.mr_address, membership.address.data(), wanted.mr_alen);
    SocketOption option{SOL_PACKET, PACKET_ADD_MEMBERSHIP, {}};
    option.value = bytes_of(wanted);
    socket.options.push_back(std::move(option));
  }
  if (told->has_ring)
    socket.missing.emplace_back("its ring of packets (PACKET_RX_RING, PACKET_TX_RING) is gone");
}

std::string address_on_interface(const Socket& socket) {
  if (socket.type == SOCK_PACKET) return socket.name;
  sockaddr_ll address = link_address(socket.name);  // getsockname(2) leaves out an empty end
  if (socket.interface.empty()) return bytes_of(address);
  const unsigned index = ::if_nametoindex(socket.interface.c_str());
  if (index == 0) return "";
  address.sll_ifindex = static_cast<int>(index);
  return bytes_of(address);
}

}  // namespace ckpt::state
