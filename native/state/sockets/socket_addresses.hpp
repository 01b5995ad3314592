// Addresses of sockets as the kernel gives them: a struct sockaddr_* of some family, as bytes.
#pragma once

#include <string>

namespace ckpt::state {

/// AF_UNSPEC for an empty one.
int family_of(const std::string& address);
std::string family_only(int domain);
/// What getsockname(2) gives for a socket that has never been bound: bound to it, it would get a
/// port, and could be bound no more.
bool is_of_no_port(const std::string& address);
/// One of this family that means the machine itself, at a port of the kernel's choice.
std::string loopback(int domain);
/// An address of IPv4 as a socket of that family is to be given it.
std::string for_family(int domain, const std::string& address);
bool is_inet_address(const std::string& address);
/// The address at the port of the other one.
std::string with_port_of(std::string address, const std::string& other);
/// What an unconnected netlink socket is connected with.
bool is_kernel(const std::string& address);
std::string with_any_port(const std::string& address);

}  // namespace ckpt::state
