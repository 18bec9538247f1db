"""From an invitation to a worker of the fleet: code, redemption, approval, revocation."""
