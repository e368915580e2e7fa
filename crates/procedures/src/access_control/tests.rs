mod allowances;
mod policies;
