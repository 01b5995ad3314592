// Sockets that get packets as they are on the network: raw IP, ping and packet sockets. What
// getsockname(2) and the like do not tell of them.
#pragma once

#include <string>

#include "proc/process_dir.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

/// Adds the interface, memberships and protocol of a packet socket, and the peer of a raw one.
void read_packet_socket(const proc::ProcessDir& process, Socket& socket);

/// The name of a packet socket with the number that its interface has now; empty if there is no
/// such interface.
std::string address_on_interface(const Socket& socket);

}  // namespace ckpt::state
