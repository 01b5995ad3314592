#include "recording/requests.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>

namespace ckpt::recording {

namespace {

struct Request {
  unsigned long number;
  std::uint32_t output_bytes;
};

constexpr std::uint32_t kTermios = 36;   // the kernel's struct termios
constexpr std::uint32_t kTermios2 = 44;  // with speeds
constexpr unsigned long kGetTermios2 = 0x802c542a;
constexpr unsigned long kGetAttributes = 0x801c581f;  // FS_IOC_FSGETXATTR
constexpr std::uint32_t kInterface = sizeof(ifreq);

constexpr auto kIoctls = std::to_array<Request>({
    // Terminals: ioctl_tty(2).
    {TCGETS, kTermios},
    {kGetTermios2, kTermios2},
    {TCGETA, 18},
    {TCSETS, 0},
    {TCSETSW, 0},
    {TCSETSF, 0},
    {TCSETA, 0},
    {TCSETAW, 0},
    {TCSETAF, 0},
    {TCSBRK, 0},
    {TCSBRKP, 0},
    {TCXONC, 0},
    {TCFLSH, 0},
    {TIOCGWINSZ, sizeof(winsize)},
    {TIOCSWINSZ, 0},
    {TIOCGPGRP, 4},
    {TIOCSPGRP, 0},
    {TIOCGSID, 4},
    {TIOCSCTTY, 0},
    {TIOCNOTTY, 0},
    {TIOCEXCL, 0},
    {TIOCNXCL, 0},
    {TIOCOUTQ, 4},
    {TIOCSTI, 0},
    {TIOCGPTN, 4},
    {TIOCSPTLCK, 0},
    {TIOCGPTLCK, 4},
    {TIOCGPTPEER, 0},
    {TIOCPKT, 0},
    {TIOCMGET, 4},
    {TIOCGETD, 4},
    // Any descriptor.
    {FIONREAD, 4},
    {FIONBIO, 0},
    {FIOASYNC, 0},
    {FIOCLEX, 0},
    {FIONCLEX, 0},
    {FIOSETOWN, 0},
    {FIOGETOWN, 4},
    // Files: ioctl_iflags(2), ioctl_ficlonerange(2).
    {FS_IOC_GETFLAGS, sizeof(long)},
    {FS_IOC_SETFLAGS, 0},
    {FS_IOC_GETVERSION, sizeof(long)},
    {kGetAttributes, 28},
    {FICLONE, 0},
    {FICLONERANGE, 0},
    {FIGETBSZ, 4},
    // Block devices.
    {BLKGETSIZE, sizeof(long)},
    {BLKGETSIZE64, 8},
    {BLKSSZGET, 4},
    {BLKBSZGET, 4},
    {BLKPBSZGET, 4},
    {BLKROGET, 4},
    // Network interfaces and sockets: netdevice(7), tcp(7).
    {SIOCGIFNAME, kInterface},
    {SIOCGIFINDEX, kInterface},
    {SIOCGIFFLAGS, kInterface},
    {SIOCGIFADDR, kInterface},
    {SIOCGIFDSTADDR, kInterface},
    {SIOCGIFBRDADDR, kInterface},
    {SIOCGIFNETMASK, kInterface},
    {SIOCGIFMETRIC, kInterface},
    {SIOCGIFMTU, kInterface},
    {SIOCGIFHWADDR, kInterface},
    {SIOCGIFTXQLEN, kInterface},
    {SIOCATMARK, 4},
    {SIOCGSTAMP_OLD, 16},
    {SIOCOUTQNSD, 4},
});

// Up to PR_GET_MEMORY_MERGE (Linux 6.4).
constexpr std::uint32_t kLastPrctl = 70;
constexpr std::uint32_t kSetVma = 0x53564d41;
// They change the memory's layout by numbers, redirect calls, or write where no rule says.
constexpr auto kRefusedPrctls =
    std::to_array<std::uint32_t>({PR_SET_MM, PR_SET_SYSCALL_USER_DISPATCH});

}  // namespace

std::optional<std::uint32_t> ioctl_output(std::uint32_t request) {
  const auto* found = std::find_if(kIoctls.begin(), kIoctls.end(), [&](const Request& known) {
    return static_cast<std::uint32_t>(known.number) == request;
  });
  return found == kIoctls.end() ? std::nullopt : std::optional(found->output_bytes);
}

bool is_known_fcntl(std::uint32_t command) {
  constexpr std::uint32_t kLastPlain = 17;  // F_GETOWNER_UIDS
  constexpr std::uint32_t kLastOpenDescription = F_OFD_SETLKW;
  constexpr std::uint32_t kFirstLinux = F_SETLEASE;
  constexpr std::uint32_t kLastLinux = F_SET_FILE_RW_HINT;
  return command <= kLastPlain || (command >= F_OFD_GETLK && command <= kLastOpenDescription) ||
         (command >= kFirstLinux && command <= kLastLinux);
}

bool is_known_prctl(std::uint32_t option) {
  if (option == kSetVma) return true;
  return option <= kLastPrctl &&
         std::find(kRefusedPrctls.begin(), kRefusedPrctls.end(), option) == kRefusedPrctls.end();
}

bool is_known_arch_prctl(std::uint32_t code) {
  // Setting and getting segment bases and the fault at cpuid; asking for features, not for more.
  constexpr std::uint32_t kFirst = 0x1001;
  constexpr std::uint32_t kLast = 0x1022;
  constexpr std::uint32_t kOldShadowStackStatus = 0x3001;
  constexpr std::uint32_t kShadowStackStatus = 0x5005;
  return (code >= kFirst && code <= kLast) || code == kOldShadowStackStatus ||
         code == kShadowStackStatus;
}

}  // namespace ckpt::recording
