"""How summaries that retention deletes were received; which fine-tunes an erasure was about."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema; a way back is not offered, a backup is."""
    op.create_table('receptions',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('adapter', sa.Text(), nullable=False),
    sa.Column('platform', sa.Text(), nullable=False),
    sa.Column('workspace', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('corrected', sa.Boolean(), nullable=False),
    sa.Column('thumb_up', sa.Boolean(), nullable=False),
    sa.Column('thumb_down', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_receptions'))
    )
    with op.batch_alter_table('receptions', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_receptions_adapter_at'), ['adapter', 'at'], unique=False)

    with op.batch_alter_table('erasures', schema=None) as batch_op:
        batch_op.add_column(sa.Column('runs', sa.JSON(), nullable=True))
    op.execute("UPDATE erasures SET runs = '[]'")
    with op.batch_alter_table('erasures', schema=None) as batch_op:
        batch_op.alter_column('runs', existing_type=sa.JSON(), nullable=False)
