! An array with bounds of its own, in a module, and a file that is half written.
module book
  implicit none
  integer :: total = 0
  integer :: entries(0:5) = 0
contains
  function work(step) result(now)
    integer, intent(in) :: step
    integer :: now, twice
    twice = step * 2
    entries(step) = twice
    total = total + twice
    now = total
  end function
end module

program subject
  use book
  implicit none
  integer :: step, nonce, now
  real :: random
  call random_seed()
  call random_number(random)
  nonce = int(random * 1e6)
  print '(a,i0)', 'nonce ', nonce
  open(unit=16, status='scratch', form='unformatted')
  do step = 1, 5
    now = work(step)
    write(16) now
    print '(a,i0,a,i0,a,i0)', 'step ', step, ' total ', now, ' sum ', sum(entries)
    call flush(6)
  end do
  rewind(16)
  do step = 1, 5
    read(16) now
  end do
  print '(a,i0,a,i0)', 'nonce ', nonce, ' last ', now
end program
